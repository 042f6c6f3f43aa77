import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CLOSE_CODES, shouldReconnect } from '../../protocol/close-codes.ts'
import { ERRORS } from '../../protocol/error-table.ts'
import type { SubscribeResult } from '../../protocol/replies.ts'
import type { Log } from '../../src/observability/log.ts'
import { startHub } from '../../src/server.ts'
import { connectAgent, connectObserver, openSocket } from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { queryFrame } from '../support/talk.ts'

const PROTOCOL = readFileSync(new URL('../../docs/PROTOCOL.md', import.meta.url), 'utf8')
const SECTION_8 = PROTOCOL.slice(PROTOCOL.indexOf('\n## 8.'))

describe('docs/PROTOCOL.md', () => {
  it('lists every close code of our own, and no other', () => {
    const listed = [...SECTION_8.matchAll(/\| (4\d\d\d) /g)].map(([, code]) => Number(code))
    const ours = Object.values(CLOSE_CODES).filter((code) => code >= 4000)
    expect(listed.toSorted()).toEqual(ours.toSorted())
  })

  it('lists every error code with whether it is retryable, and no other', () => {
    const listed = [...SECTION_8.matchAll(/^\| `(\w+)` \| (yes|no) \|/gm)].map(([, code, retryable]) => [
      code,
      retryable === 'yes',
    ])
    const ours = Object.entries(ERRORS).map(([code, { retryable }]) => [code, retryable])
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(ours))
  })
})

describe('a client', () => {
  it('connects again after all but 4400 to 4499 and what means that it is at fault itself', () => {
    const final = [1000, 1002, 1003, 1007, 1008, 1009]
    for (let code = 1000; code < 5000; code++) {
      const atFault = final.includes(code) || (code >= 4400 && code <= 4499)
      expect(shouldReconnect(code), String(code)).toBe(!atFault)
    }
  })

  it('that closes in order is answered in kind, its agent not connected at once', async () => {
    await using hub = await startTestHub('memory')
    await using observer = await connectObserver(hub)
    await observer.request({ type: 'subscribe' })
    await using agent = await connectAgent(hub, { id: 'a1' })
    expect(await agent.close()).toMatchObject({ code: 1000 })
    await observer.next('event', (event) => event.event === 'agent.updated' && !event.agent.connected)
  })

  it('that sends and closes at once has sent', async () => {
    await using hub = await startTestHub('memory')
    await using receiver = await connectAgent(hub, { id: 'b1' })
    await using agent = await connectAgent(hub, { id: 'a1' })
    for (let ref = 0; ref < 20; ref++) agent.send({ ref, ...queryFrame('b1', ref) })
    await agent.close()
    for (let payload = 0; payload < 20; payload++)
      expect(await receiver.next('message')).toMatchObject({ payload })
  })
})

describe('every close by the hub', () => {
  it('carries the name of its code as reason', async () => {
    await using hub = await startTestHub('memory')
    await using broken = await connectAgent(hub, { id: 'a1' })
    broken.raw('[]')
    expect(await broken.closed).toEqual({ code: 4400, reason: 'bad_protocol' })
    await using taken = await connectAgent(hub, { id: 'a2' })
    await using _newcomer = await connectAgent(hub, { id: 'a2', session: taken.session })
    expect(await taken.closed).toEqual({ code: 4409, reason: 'taken_over' })
  })
})

describe.each(CORES)('a hub that drains, on %s', (core) => {
  it('asks each client to leave at a time of its own, and is done when all have', async () => {
    await using hub = await startTestHub(core)
    const agents = await Promise.all(['a1', 'a2', 'a3', 'a4'].map((id) => connectAgent(hub, { id })))
    const drained = hub.drain()
    const times: number[] = []
    for (const agent of agents) {
      const goaway = await agent.next('goaway')
      expect(goaway).toEqual({ type: 'goaway', reason: 'draining', reconnectAfterMs: expect.any(Number) })
      times.push(goaway.reconnectAfterMs)
    }
    expect(new Set(times).size).toBe(times.length)
    expect(Math.min(...times)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...times)).toBeLessThanOrEqual(30_000)
    await Promise.all(agents.map((agent) => agent.close()))
    await drained
  })

  it('takes no new connection, no hello and no send, and still takes acknowledgements', async () => {
    await using mesh = await startMesh(core, 2)
    const hub = mesh.hub(0)
    await using agent = await connectAgent(hub, { id: 'a1', producer: 'p1' })
    await using other = await connectAgent(mesh.hub(1), { id: 'b1' })
    await other.request(queryFrame('a1'))
    const message = await agent.next('message')
    await using greeting = await openSocket(hub)
    const drained = hub.drain()
    await agent.next('goaway')
    await expect(openSocket(hub)).rejects.toThrow('503')
    const hello = { type: 'hello', protocol: 1, agent: { name: 'tester', capabilities: ['nlp'] } }
    expect(await greeting.refusal(hello)).toMatchObject({ code: 'draining', retryable: true })
    expect(await agent.refusal(queryFrame('b1'))).toMatchObject({ code: 'draining', retryable: true })
    expect(await agent.refusal({ ...queryFrame('b1'), seq: 1 })).toMatchObject({ code: 'draining' })
    agent.send({ type: 'ack', ids: [message.id] })
    await agent.request({ type: 'bye', keep: true })
    await greeting.close()
    await drained
    // What was refused as draining was not stored: the same seq is new to the other hub.
    await using moved = await connectAgent(mesh.hub(1), { id: 'a1', producer: 'p1' })
    expect(moved.welcome.pending).toBe(0)
    expect(await moved.request({ ...queryFrame('b1', 'again'), seq: 1 })).not.toHaveProperty('duplicate')
    expect(await other.next('message')).toMatchObject({ payload: 'again' })
  })

  it('tells so by /health, which goes on answering', async () => {
    await using hub = await startTestHub(core)
    await using agent = await connectAgent(hub, { id: 'a1' })
    const drained = hub.drain()
    await agent.next('goaway')
    expect(await (await fetch(`${hub.httpUrl}/health`)).json()).toMatchObject({ draining: true })
    await agent.close()
    await drained
  })

  it('closes 4001 whoever is still there at its end; their agents may come back on another hub', async () => {
    await using mesh = await startMesh(core, 2)
    await using observer = await connectObserver(mesh.hub(1))
    await observer.request({ type: 'subscribe' })
    await using straggler = await connectAgent(mesh.hub(0), { id: 'a1' })
    await using watcher = await connectObserver(mesh.hub(0))
    await using greeting = await openSocket(mesh.hub(0))
    await mesh.hub(0).close()
    for (const socket of [straggler, watcher, greeting]) {
      expect(await socket.closed).toEqual({ code: 4001, reason: 'draining' })
    }
    await observer.next('event', (event) => event.event === 'agent.updated' && !event.agent.connected)
    await using back = await connectAgent(mesh.hub(1), { id: 'a1' })
    expect(back.welcome).toMatchObject({ resumed: true, agent: { status: 'online' } })
  })
})

/** The codes that a hub closes sockets with: who does not read may not get to the close frame in time. */
function captureCloses(): { readonly closes: unknown[]; readonly logger: Log } {
  const closes: unknown[] = []
  const ignore = (): void => undefined
  const info = (fields: unknown, message?: string): void => {
    if (message === 'connection closing') closes.push((fields as { code: unknown }).code)
  }
  const logger: Log = { error: ignore, warn: ignore, debug: ignore, info, child: () => logger }
  return { closes, logger }
}

describe('a client that does not read', () => {
  const BIG = 'x'.repeat(16_000)

  it('is answered no further once 1 MiB waits, and gets all answers when it reads again', async () => {
    await using hub = await startTestHub('memory')
    const crowd = await Promise.all(
      Array.from({ length: 16 }, (_, i) => connectAgent(hub, { id: `a${i}`, metadata: { k: BIG } })),
    )
    await using reader = await connectObserver(hub)
    await using other = await connectAgent(hub, { id: 'other' })
    reader.pause()
    // 256 KiB each: 100 MiB in all, of one message of 20 KiB.
    const count = 400
    reader.raw(Array.from({ length: count }, (_, ref) => `{"type":"discover","ref":${ref}}`).join('\n'))
    await other.roundTrip()
    expect(reader.waiting).toEqual([])
    reader.resume()
    for (let ref = 0; ref < count; ref++) expect((await reader.next('ok')).ref).toBe(ref)
    for (const agent of crowd) await agent.cut()
  })

  it('is closed 4008 after 10 s, also while it goes on asking', async () => {
    const { closes, logger } = captureCloses()
    await using hub = await startHub({ port: 0, logger })
    await using watcher = await connectObserver(hub)
    await watcher.request<SubscribeResult>({ type: 'subscribe' })
    const crowd = await Promise.all(
      Array.from({ length: 16 }, (_, i) => connectAgent(hub, { id: `a${i}`, metadata: { k: BIG } })),
    )
    await using deaf = await connectAgent(hub, { id: 'deaf' })
    await using reading = await connectAgent(hub, { id: 'reading' })
    deaf.pause()
    const begun = Date.now()
    deaf.raw(Array.from({ length: 200 }, (_, ref) => `{"type":"discover","ref":${ref}}`).join('\n'))
    await watcher.next(
      'event',
      (event) => event.event === 'agent.updated' && event.agentId === 'deaf',
      14_000,
    )
    const closedMs = Date.now() - begun
    expect(closedMs).toBeGreaterThanOrEqual(9_900)
    expect(closedMs).toBeLessThan(13_000)
    expect(closes).toEqual([4008])
    await reading.roundTrip()
    for (const agent of crowd) await agent.cut()
  }, 20_000)

  it('is closed at once when what nobody stores grows beyond 16 MiB, and only it', async () => {
    const { closes, logger } = captureCloses()
    await using hub = await startHub({ port: 0, logger, ratePerSecond: 0 })
    await using watcher = await connectObserver(hub)
    await watcher.request<SubscribeResult>({ type: 'subscribe' })
    await using deaf = await connectAgent(hub, { id: 'deaf' })
    await using reading = await connectObserver(hub)
    // One event of a heartbeat carries 16 KB of metadata; each subscription gets its own.
    await using beating = await connectAgent(hub, { id: 'beating', metadata: { k: BIG } })
    for (let i = 0; i < 50; i++) await deaf.request({ type: 'subscribe', events: ['agent.heartbeat'] })
    await reading.request({ type: 'subscribe', events: ['agent.heartbeat'] })
    deaf.pause()
    for (let i = 0; i < 60; i++) beating.send({ type: 'pong' })
    await watcher.next('event', (event) => event.event === 'agent.updated' && event.agentId === 'deaf')
    for (let i = 0; i < 60; i++) await reading.next('event')
    expect(closes).toEqual([4008])
  })

  it.each(CORES)(
    'is pushed about 1 MiB of what is stored; the rest waits in the store and comes again in order: on %s',
    async (core) => {
      await using hub = await startTestHub(core, { ratePerSecond: 0 })
      await using sender = await connectAgent(hub, { id: 'b1' })
      await using deaf = await connectAgent(hub, { id: 'a1', window: 10_000 })
      deaf.pause()
      const count = 300
      const payload = 'x'.repeat(64_000)
      await Promise.all(
        Array.from({ length: count }, (_, i) => sender.request(queryFrame('a1', `${i} ${payload}`))),
      )
      await deaf.cut()
      await using back = await connectAgent(hub, { id: 'a1', window: 10_000 })
      const attempts: number[] = []
      for (let i = 0; i < count; i++) {
        const message = await back.next('message')
        expect(String(message.payload).split(' ')[0]).toBe(String(i))
        attempts.push(message.attempt)
      }
      const pushedBefore = attempts.filter((attempt) => attempt === 2).length
      // 1 MiB here and a few in the buffers of both kernels, of 19 MB.
      expect(pushedBefore).toBeGreaterThan(0)
      expect(pushedBefore * payload.length).toBeLessThan(14_000_000)
      expect(attempts.filter((attempt) => attempt === 1)).toHaveLength(count - pushedBefore)
    },
  )

  it('does not get transient messages while it is behind, and loses no others', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 0 })
    await using sender = await connectAgent(hub, { id: 'b1' })
    await using slow = await connectAgent(hub, { id: 'a1', window: 10_000 })
    slow.pause()
    const payload = 'x'.repeat(64_000)
    const count = 400
    for (let i = 0; i < count; i++)
      await sender.request({ ...queryFrame('a1', `${i} ${payload}`), durability: 'transient' })
    await sender.request(queryFrame('a1', 'stored'))
    slow.resume()
    await slow.next('message', (message) => message.payload === 'stored')
    const got = slow.waitingOf('message').map((message) => Number(String(message.payload).split(' ')[0]))
    expect(got.length).toBeGreaterThan(0)
    expect(got.length).toBeLessThan(count)
    expect(got).toEqual(got.toSorted((a, b) => a - b))
  })
})
