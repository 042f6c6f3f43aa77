import { readFileSync } from 'node:fs'
import { join as pathOf } from 'node:path'
import { expect, test } from 'vitest'
import type { OpenApi } from './support/api.ts'
import { startTestHub } from './support/hubs.ts'
import { fencedBlocks, tableRows } from './support/markdown.ts'
import { ROOT, startNode } from './support/run.ts'
import { watchDead } from './support/talk.ts'
import { neutral, stepsOf, type } from './support/typed-commands.ts'

const PAGE = readFileSync(pathOf(ROOT, 'docs/operations-api.md'), 'utf8')

test.each(['memory', 'redis'] as const)(
  'docs/operations-api.md shows what is answered, on %s',
  async (core) => {
    await using hub = await startTestHub(core)
    await using dead = await watchDead(hub)
    const [agents = ''] = fencedBlocks(PAGE, 'js')
    await using running = startNode(['--input-type=module', '-'])
    running.child.stdin.end(agents.replace('ws://127.0.0.1:7171/mesh', hub.url))
    await dead.next()
    const steps = stepsOf(PAGE)
    expect(steps.length).toBeGreaterThan(10)
    for (const { command, output } of steps)
      expect(`$ ${command}\n${neutral(await type(command, hub.httpUrl))}`).toBe(
        `$ ${command}\n${neutral(output)}`,
      )
  },
)

test('docs/operations-api.md lists every path', async () => {
  await using hub = await startTestHub('memory')
  const document = (await (await fetch(`${hub.httpUrl}/api/v1/openapi.json`)).json()) as OpenApi
  const listed = tableRows(PAGE).flatMap(([cell = '']) =>
    [...cell.replaceAll('…', '/api/v1/dead-letters').matchAll(/`(?:[A-Z]+ )?(\/api\/v1\/[^`]*)`/g)].map(
      ([, path]) => path,
    ),
  )
  expect([...new Set([...listed, '/api/v1/openapi.json'])].toSorted()).toEqual(
    Object.keys(document.paths).toSorted(),
  )
})
