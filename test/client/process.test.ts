import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { CLIENTS } from '../support/built.ts'
import { startTestHub } from '../support/hubs.ts'

interface Result {
  readonly code: number
  readonly output: string
  readonly errors: string
}

/** Runs a module in a Node process of its own; `connect` (of that entry) and `url` are there. */
async function run(url: string, body: string, entry: keyof typeof CLIENTS = 'node'): Promise<Result> {
  const script = `import { connect } from '${CLIENTS[entry]}'\nconst url = '${url}'\n${body}`
  // Node 22 has a global WebSocket; for Node 20 this is the flag.
  const flags = ['--experimental-websocket', '--no-warnings', '--input-type=module']
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

  it('is not ended by whatever its handlers throw', async () => {
    await using hub = await startTestHub('memory')
    const result = await run(
      hub.url,
      `const client = await connect({ url, name: 'alice', capabilities: ['test'], concurrency: 9, redeliveryDelayMs: 60000 })
      const bare = Object.create(null)
      client.onMessage('sync', () => { throw bare })
      client.onMessage('async', async () => { throw undefined })
      client.onMessage('thenable', () => ({ then() { throw bare } }))
      client.onMessage('query', async function* () { yield 1; throw bare })
      client.onStream(() => { throw bare })
      const told = []
      const failures = client.status()
      for (const type of ['sync', 'async', 'thenable']) await client.send(client.id, 1, { type })
      const chunks = client.requestStream(client.id, 1)
      for (;;) if (await chunks.next().catch(({ code }) => (console.log(code), { done: true })).then(({ done }) => done)) break
      void client.openStream(client.id)
      for await (const { type, error } of failures) {
        if (error !== undefined) told.push(type)
        if (told.length === 5) break
      }
      console.log(told.toSorted().join(' '))
      await client.close()`,
    )
    const told = 'handler_failed handler_failed handler_failed handler_failed stream_failed'
    expect(result).toEqual({ code: 0, output: `handler_failed\n${told}\n`, errors: '' })
  })

  it('is not ended by what onStatus throws: that is an error on its console', async () => {
    await using hub = await startTestHub('memory')
    const result = await run(
      hub.url,
      `let calls = 0
      const onStatus = (event) => {
        if (event.type === 'connecting') throw new Error('at once')
        if (event.type === 'open') return Promise.reject(new Error('later'))
        calls++
      }
      const client = await connect({ url, name: 'alice', capabilities: ['test'], onStatus })
      await client.close()
      console.log(calls > 0)`,
    )
    expect(result).toMatchObject({ code: 0, output: 'true\n' })
    expect(result.errors.match(/meshwire: onStatus failed: Error: .*/g)).toEqual([
      'meshwire: onStatus failed: Error: at once',
      'meshwire: onStatus failed: Error: later',
    ])
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
