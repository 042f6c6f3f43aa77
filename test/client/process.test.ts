import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { startTestHub } from '../support/hubs.ts'

interface Result {
  readonly code: number
  readonly output: string
  readonly errors: string
}

/** Runs a module in a Node process of its own; `connect` (of that entry) and `url` are there. */
async function run(url: string, body: string, entry: 'node' | 'index' = 'node'): Promise<Result> {
  const client = new URL(`../../client/${entry}.ts`, import.meta.url).href
  const script = `import { connect } from '${client}'\nconst url = '${url}'\n${body}`
  // Node 22 has a global WebSocket; for Node 20 this is the flag.
  const flags = ['--experimental-websocket', '--no-warnings', '--import', 'tsx', '--input-type=module']
  const child = spawn(process.execPath, [...flags, '--eval', script])
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { code: code as number, output, errors }
}

describe('a process with a client', () => {
  it('lives while the client is open and ends by itself when it is closed', async () => {
    await using hub = await startTestHub('memory')
    const result = await run(
      hub.url,
      `const client = await connect({ url, name: 'alice', capabilities: ['test'], takenTimeoutMs: 3e6, closeTimeoutMs: 3e6 })
      const got = new Promise((resolve) => client.onMessage('notification', ({ payload }) => resolve(payload)))
      const answer = client.request(client.id, 'never answered').catch(({ name }) => name)
      client.watch()
      setImmediate(() => client.send(client.id, 'to myself'))
      console.log(await got)
      await client.close()
      console.log(await answer)`,
    )
    expect(result).toEqual({ code: 0, output: 'to myself\nAbortError\n', errors: '' })
  })

  it('is not ended by failures that nobody looks at', async () => {
    await using hub = await startTestHub('memory')
    const result = await run(
      hub.url,
      `const client = await connect({ url, name: 'alice', capabilities: ['test'] })
      const failures = client.status()
      client.onMessage(() => { throw new Error('handler') })
      client.send('nobody', 1)
      client.request('nobody', 1)
      client.broadcast(1n)
      client.watch({ version: 'x'.repeat(300) })
      client.leader({ signal: AbortSignal.abort() })
      client.update({ version: 'none' })
      await client.send(client.id, 'fail')
      for await (const { type } of failures) if (type === 'handler_failed') break
      client.send(client.id, 'left')
      client.request(client.id, 'left')
      await client.close()
      client.send(client.id, 'late')
      console.log('alive')`,
    )
    expect(result).toEqual({ code: 0, output: 'alive\n', errors: '' })
  })

  it("may use the entry for browsers, with the platform's own WebSocket", async () => {
    await using hub = await startTestHub('memory')
    const result = await run(
      hub.url,
      `const client = await connect({ url, name: 'alice', capabilities: ['test'], token: 'ignored' })
      client.onMessage('query', ({ payload }) => ({ echo: payload }))
      console.log(JSON.stringify((await client.request(client.id, 1)).payload))
      await client.close()`,
      'index',
    )
    expect(result).toEqual({ code: 0, output: '{"echo":1}\n', errors: '' })
  })
})
