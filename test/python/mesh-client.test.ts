import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startTestHub } from '../../src/testing/index.ts'
import { findPython, runPython } from '../support/python.ts'
import { ROOT } from '../support/run.ts'

const read = (name: string): string => readFileSync(join(ROOT, 'examples/python', name), 'utf8')

/** A Python has to start first. */
const WAIT_MS = 10_000
const PATIENT = { timeout: WAIT_MS }

const python = findPython()
const title = python === null ? ' (skipped: no python3, 3.9 or later, with websockets here)' : ''

/** An agent `pat` with this body; `url` and `MeshClient` are there. */
const program = (body: string): string => `
import asyncio, sys
from mesh_client import MeshClient, MeshError
url = sys.argv[1]
async def main():
${body.replaceAll(/^/gm, '    ')}
asyncio.run(main())
`

describe('the Python client', () => {
  it('has at most 120 lines, none of them long, and imports websockets and the standard library alone', () => {
    const lines = read('mesh_client.py').trimEnd().split('\n')
    expect(lines.length).toBeLessThanOrEqual(120)
    expect(lines.filter((line) => line.length > 120)).toEqual([])
    expect(lines.filter((line) => /^(?:import|from) /.test(line))).toEqual([
      'import asyncio, collections, contextlib, json, random, time, uuid',
      'import websockets',
    ])
  })
})

describe.skipIf(python === null)(`the Python client on a real hub${title}`, () => {
  const run = (body: string, url: string) => runPython(python ?? '', program(body), url)

  it('asks and answers as its example prints', async () => {
    await using hub = await startTestHub()
    const printed = /prints\n\n {4}(.*)\n/.exec(read('ask.py'))?.[1]
    expect(await runPython(python ?? '', read('ask.py'), hub.url)).toEqual({
      code: 0,
      output: `${printed}\n`,
      errors: '',
    })
  })

  it('is asked, asks from its handler, gives back what its handler raises, and answers a second try', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.fakeAgent({ name: 'bob' })
    bob.reply<number>('query', ({ payload }) => payload + 1)
    const running = run(
      `stop = asyncio.Event()
seen = []
async def handle(message):
    if message["messageType"] == "stop": return stop.set()
    seen.append(message["attempt"])
    if len(seen) == 1: raise ValueError("not yet")
    return (await pat.request("bob", message["payload"]))["payload"]
pat = await MeshClient.connect(url, "pat", ["test"], handle, id="pat")
await stop.wait()
await pat.close()
print(seen)`,
      hub.url,
    )
    await expect.poll(async () => (await alice.discover({ name: 'pat' })).agents.length, PATIENT).toBe(1)
    expect((await alice.request('pat', 41)).payload).toBe(42)
    await alice.send('pat', null, { type: 'stop' })
    expect(await running).toEqual({ code: 0, output: '[1, 2]\n', errors: '' })
    const { agents } = await alice.discover({ name: 'pat', status: ['offline'] })
    expect(agents).toMatchObject([{ id: 'pat', status: 'offline' }])
  })

  it('sends again what had no answer when its connection was cut, in order and once', async () => {
    await using hub = await startTestHub()
    const bob = await hub.fakeAgent({ name: 'bob' })
    const running = run(
      `pat = await MeshClient.connect(url, "pat", ["test"])
await asyncio.gather(*(pat.send("bob", n) for n in range(3000)))
await pat.close()
print("sent")`,
      hub.url,
    )
    for (const count of [100, 1500]) {
      await expect.poll(() => bob.received.length, { ...PATIENT, interval: 2 }).toBeGreaterThan(count)
      hub.cut()
    }
    const { errors, ...ended } = await running
    // asyncio logs what older versions of websockets write before they have noticed.
    expect(errors.replaceAll('socket.send() raised exception.\n', '')).toBe('')
    expect(ended).toEqual({ code: 0, output: 'sent\n' })
    // What the cut took from bob before he had acknowledged it comes to him again.
    const first = (): Map<string, unknown> => new Map(bob.received.map(({ id, payload }) => [id, payload]))
    await expect.poll(() => first().size, PATIENT).toBe(3000)
    expect([...first().values()]).toEqual([...Array(3000).keys()])
  })

  it('handles once what comes again, and is welcome on a hub that has forgotten it', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.fakeAgent({ name: 'bob' })
    const running = run(
      `stop = asyncio.Event()
async def handle(message):
    await pat.send("bob", message["payload"])
    if message["payload"] == "stop": stop.set()
pat = await MeshClient.connect(url, "pat", ["test"], handle, id="pat")
await pat.send("bob", "here")
await stop.wait()
await pat.close()`,
      hub.url,
    )
    expect((await bob.next(undefined, { timeoutMs: WAIT_MS })).payload).toBe('here')
    await alice.send('pat', 'one')
    expect((await bob.next(undefined, { timeoutMs: WAIT_MS })).payload).toBe('one')
    hub.cut()
    const two = await alice.send('pat', 'two', { receipt: true })
    expect((await bob.next(undefined, { timeoutMs: WAIT_MS })).payload).toBe('two')
    // Not before pat has the answer to its own send: it could not know whether that was stored.
    await two.settled
    await hub.restart({ forget: true })
    const isThere = async () => (await alice.discover({ name: 'pat' })).agents.length
    await expect.poll(isThere, PATIENT).toBe(1)
    await alice.send('pat', 'stop')
    expect((await bob.next(undefined, { timeoutMs: WAIT_MS })).payload).toBe('stop')
    expect(await running).toEqual({ code: 0, output: '', errors: '' })
    expect(bob.received.map(({ payload }) => payload)).toEqual(['here', 'one', 'two', 'stop'])
  })

  it('ends where coming back is useless, and says why', async () => {
    await using hub = await startTestHub()
    const refused = await run(
      `try: await MeshClient.connect(url, "no name!", ["test"])
except MeshError as error: print(error.code)`,
      hub.url,
    )
    expect(refused).toEqual({ code: 0, output: 'invalid_name\n', errors: '' })
    const failed = await run(
      `pat = await MeshClient.connect(url, "pat", ["test"])
try: await pat.send("nobody", 1)
except MeshError as error: print(error.code, error.retryable)
await pat.close()
try: await pat.send("pat", 1)
except MeshError as error: print(error.code)`,
      hub.url,
    )
    expect(failed).toEqual({ code: 0, output: 'unknown_target False\nclosed\n', errors: '' })
  })
})
