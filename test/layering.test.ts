import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { breaches, packagesLoadedBy, readSources } from './layering.ts'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const sources = readSources(root, ['protocol', 'client', 'src', 'dashboard', 'examples', 'bench'])

describe('every source file', () => {
  it('is read', () => {
    const folders = new Set(sources.map(({ path }) => path.split('/')[0]))
    expect([...folders]).toEqual(['bench', 'client', 'examples', 'protocol', 'src'])
  })

  it('imports only what its layer may', () => {
    expect(breaches(sources)).toEqual([])
  })

  it.each(['index', 'indexeddb', 'outbox'])('leaves the browser client without packages (%s)', (entry) => {
    expect(packagesLoadedBy(`client/${entry}.ts`, sources)).toEqual([])
  })

  it('gives the MXP codec one package, which browsers have too', () => {
    expect(packagesLoadedBy('src/mxp/index.ts', sources)).toEqual(['hash-wasm'])
  })
})

describe('the checker refuses', () => {
  const cases: readonly [title: string, path: string, text: string, breach: string][] = [
    [
      'a protocol that imports the hub',
      'protocol/agent.ts',
      `import { hub } from '../src/hub/hub.ts'`,
      'protocol may not import src/hub/hub.ts',
    ],
    [
      'a protocol that needs Node',
      'protocol/codec.ts',
      `import { Buffer } from 'node:buffer'`,
      'protocol may not import node:buffer',
    ],
    [
      'a client that imports the hub',
      'client/client.ts',
      `import '../src/server.ts'`,
      'client may not import src/server.ts',
    ],
    [
      'a browser client with a package',
      'client/client.ts',
      `import WebSocket from 'ws'`,
      'client may not import ws',
    ],
    [
      'a port that imports the hub',
      'src/core/bus.ts',
      `export * from '../hub/hub.ts'`,
      'core may not import src/hub/hub.ts',
    ],
    [
      'a type import as much as any',
      'src/auth/jwt.ts',
      `import type { Hub } from '../hub/hub.ts'`,
      'auth may not import src/hub/hub.ts',
    ],
    [
      'an import over several lines',
      'src/hub/hub.ts',
      `import {\n  start,\n  stop,\n} from '../server.ts'`,
      'hub may not import src/server.ts',
    ],
    [
      'an import where it is used',
      'src/hub/hub.ts',
      `const http = await import('../http/app.ts')`,
      'hub may not import src/http/app.ts',
    ],
    [
      'a hub that names an implementation',
      'src/hub/hub.ts',
      `import { createMemoryCore } from '../core/memory/core.ts'`,
      'only src/server.ts names src/core/memory/, not src/hub/hub.ts',
    ],
    [
      'a command line that names an implementation',
      'src/cli/main.ts',
      `import { connectRedisCore } from '../core/redis/core.ts'`,
      'only src/server.ts names src/core/redis/, not src/cli/main.ts',
    ],
    [
      'an http layer that goes around the hub',
      'src/http/app.ts',
      `import type { Core } from '../core/core.ts'`,
      'http and mxp may not import src/core/core.ts',
    ],
    [
      'a testing aid that needs a test runner',
      'src/testing/fake-agent.ts',
      `import { expect } from 'vitest'`,
      'testing may not import vitest',
    ],
    [
      'a testing aid that goes around the hub',
      'src/testing/test-hub.ts',
      `import { Hub } from '../hub/hub.ts'`,
      'testing may not import src/hub/hub.ts',
    ],
    ['a file of a folder nobody named', 'src/utilities/misc.ts', '', 'is in no layer'],
    [
      'an example that reaches inside',
      'examples/01-hello.ts',
      `import '../client/node.ts'`,
      'examples may not import client/node.ts',
    ],
    [
      'a bench that reaches inside the package',
      'bench/main.ts',
      `import 'meshwire/dist/src/hub/hub.js'`,
      'bench may not import meshwire/dist/src/hub/hub.js: it is no published entry point',
    ],
    [
      'a hub that imports its own package',
      'src/hub/hub.ts',
      `import { CLOSE_CODES } from 'meshwire/protocol'`,
      'hub may not import meshwire/protocol: only dashboard, examples and bench use the published entry points',
    ],
    [
      'ioredis as a value',
      'src/core/redis/inboxes.ts',
      `import { Redis } from 'ioredis'`,
      'only src/core/redis/client.ts imports ioredis; the files beside it may import its types',
    ],
    [
      'ioredis as a type outside its folder',
      'src/hub/hub.ts',
      `import type { Redis } from 'ioredis'`,
      'only src/core/redis/client.ts imports ioredis; the files beside it may import its types',
    ],
    [
      'the environment',
      'src/hub/hub.ts',
      'const port = process.env.PORT',
      'only src/config.ts reads process.env',
    ],
    [
      'the environment by import',
      'src/cli/main.ts',
      `import { env } from 'node:process'`,
      'only src/config.ts reads process.env',
    ],
    [
      'a parser in the hub',
      'src/hub/dispatch.ts',
      'const frame = JSON.parse(text)',
      'only protocol/codec.ts parses wire data',
    ],
    [
      'a parser in the client',
      'client/incoming.ts',
      'const frame = JSON.parse(text)',
      'only protocol/codec.ts parses wire data',
    ],
  ]
  for (const [title, path, text, breach] of cases) {
    it(title, () => {
      expect(breaches([{ path, text }])).toEqual([`${path}: ${breach}`])
    })
  }

  it('a browser client that loads a package through the protocol', () => {
    const files = [
      { path: 'client/index.ts', text: `export { connect } from './client.ts'` },
      { path: 'client/client.ts', text: `import { helloSchema } from '../protocol/commands.ts'` },
      { path: 'protocol/commands.ts', text: `import * as z from 'zod/mini'` },
    ]
    expect(packagesLoadedBy('client/index.ts', files)).toEqual(['zod/mini'])
  })
})

describe('the checker lets pass', () => {
  const cases: readonly [title: string, path: string, text: string][] = [
    ['a layer that imports itself', 'src/hub/hub.ts', `import { Outbox } from './outbox.ts'`],
    ['a hub that imports ports', 'src/hub/hub.ts', `import type { Core } from '../core/core.ts'`],
    [
      'the composition root that names both cores',
      'src/server.ts',
      `import './core/memory/core.ts'\nimport './core/redis/core.ts'`,
    ],
    [
      'the types of ioredis beside its connections',
      'src/core/redis/scripts.ts',
      `import type { Redis } from 'ioredis'`,
    ],
    [
      'an example that uses the published client',
      'examples/01-hello.ts',
      `import { connect } from 'meshwire/client'`,
    ],
    [
      'a comment about the environment',
      'src/hub/hub.ts',
      '// process.env is read elsewhere\n/** JSON.parse is not used. */',
    ],
  ]
  for (const [title, path, text] of cases) {
    it(title, () => {
      expect(breaches([{ path, text }])).toEqual([])
    })
  }
})
