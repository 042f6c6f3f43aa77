import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const HTML = `<!doctype html>
<title>A page with a client</title>
<link rel="icon" href="data:,">
<script>
  // Every WebSocket of this page, and how many were in use at once.
  const sockets = { all: [], most: 0 }
  globalThis.WebSocket = class extends WebSocket {
    constructor(...parameters) {
      super(...parameters)
      sockets.all.push(this)
      sockets.most = Math.max(sockets.most, sockets.all.filter(({ readyState }) => readyState < 2).length)
    }
  }
</script>
<script type="module">
  import * as library from '/client.min.js'
  import { runCase, Tab } from '/page.js'
  globalThis.runCase = (title, url) => {
    const world = { url }
    for (const name of ['cut', 'stall', 'refuse', 'capture', 'heal', 'killHub', 'startHub'])
      world[name] = (parameter) => globalThis.world(name, parameter)
    return runCase(title, library, world)
  }
  globalThis.tab = new Tab(library)
  globalThis.ready = true
</script>
`

/** A web server whose every page has the client of `dist`, as it is published, and what the tests need in a page. */
export interface Pages extends AsyncDisposable {
  readonly url: string
}

export async function startPages(): Promise<Pages> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../client-suite/page.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
  })
  const [bundle] = outputFiles
  const scripts = new Map([['/page.js', bundle?.contents]])
  for (const name of ['client.min.js', 'client-parts.min.js'])
    scripts.set(`/${name}`, await readFile(new URL(`../../dist/${name}`, import.meta.url)))
  const server = createServer(({ url = '' }, response) => {
    const script = scripts.get(url.split('?')[0] ?? '')
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html')
    response.end(script ?? HTML)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
