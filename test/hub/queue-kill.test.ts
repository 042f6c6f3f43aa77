import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import type { Message } from '../../protocol/pushes.ts'
import { connectAgent, connectObserver, type TestAgent, type TestSocket } from '../support/agent.ts'
import { startHubProcess } from '../support/hub-process.ts'
import { CORES, type CoreKind, newStore } from '../support/hubs.ts'
import { type Running, startNode } from '../support/run.ts'
import { NLP, send, sendFrame } from '../support/talk.ts'

const asker = { id: 'alice', name: 'alice-name', capabilities: ['asking'] }

/** An agent in a process of its own that takes a message, says so by an update of its metadata, and never acknowledges it. */
function startStubborn(url: string, id: string): Running {
  const script = `
    import { WebSocket } from 'ws'
    const socket = new WebSocket(${JSON.stringify(url)}, ${JSON.stringify(SUBPROTOCOL)})
    const send = (frame) => socket.send(JSON.stringify(frame))
    const agent = { id: '${id}', name: '${id}', capabilities: ['nlp'] }
    socket.on('open', () => send({ type: 'hello', ref: 'hello', protocol: 1, agent }))
    socket.on('message', (text) => {
      for (const frame of text.toString().split('\\n').map((line) => JSON.parse(line))) {
        if (frame.type === 'ping') send({ type: 'pong' })
        if (frame.type !== 'message') continue
        send({ type: 'update', ref: 'holds', metadata: { holds: frame.id } })
        setInterval(() => send({ type: 'progress', ids: [frame.id] }), 100)
      }
    })`
  return startNode(['--input-type=module', '--eval', script])
}

/** Resolves with the id of the message that agent `id` says it holds. */
async function heldBy(watcher: TestSocket, id: string): Promise<string> {
  const event = await watcher.next(
    'event',
    (one) => one.event === 'agent.updated' && one.agentId === id && 'holds' in one.agent.metadata,
    20_000,
  )
  if (event.event !== 'agent.updated') throw new Error('unreachable')
  return event.agent.metadata.holds ?? ''
}

/** Flags of a hub on an empty store. */
async function flagsOf(
  core: CoreKind,
  more: Record<string, string | number>,
): Promise<Record<string, string | number>> {
  const { redisUrl, keyPrefix } = await newStore(core)
  return {
    ...(redisUrl && { '--redis-url': redisUrl }),
    ...(keyPrefix && { '--key-prefix': keyPrefix }),
    ...more,
  }
}

async function watchAgents(url: string): Promise<TestAgent> {
  const watcher = await connectObserver({ url })
  await watcher.request({ type: 'subscribe', events: ['agent.updated'] })
  return watcher
}

describe.each(CORES)('work, on %s', (core) => {
  test('of a worker that is killed is another one’s within grace + 1 s', async () => {
    const graceMs = 1_000
    await using hub = await startHubProcess(await flagsOf(core, { '--grace-ms': graceMs }))
    await using watcher = await watchAgents(hub.url)
    await using alice = await connectAgent(hub, asker)
    await using victim = startStubborn(hub.url, 'victim')
    const { id } = await send(alice, NLP, 'one')
    expect(await heldBy(watcher, 'victim')).toBe(id)
    await using heir = await connectAgent(hub, { id: 'heir' })
    const exit = once(victim.child, 'exit')
    victim.child.kill('SIGKILL')
    await exit
    const at = performance.now()
    expect(await heir.next('message')).toMatchObject({ id, payload: 'one', attempt: 2 })
    const took = performance.now() - at
    expect(took).toBeGreaterThan(graceMs - 50)
    expect(took).toBeLessThan(graceMs + 1_000)
  }, 40_000)

  test('of a backlog of 100,000 messages is kept without growing the hub, and done once each', async () => {
    const count = 100_000
    await using hub = await startHubProcess(
      await flagsOf(core, { '--rate-per-second': 0, '--queue-max': count }),
    )
    await using alice = await connectAgent(hub, asker)
    const before = await hub.rssMiB()
    await fill(alice, count)
    const grown = (await hub.rssMiB()) - before
    // In memory the backlog itself is there: well under 2 KiB each, frame and all. On Redis it is not.
    expect(grown).toBeLessThan(core === 'memory' ? 200 : 100)
    expect((await alice.refusal(sendFrame(NLP, 'one more'))).code).toBe('inbox_full')
    const workers = await Promise.all(
      [1, 2, 3, 4].map((n) => connectAgent(hub, { id: `w${n}`, concurrency: 250, window: 1_000 })),
    )
    const seen = new Map<unknown, number>()
    const attempts = new Set<number>()
    await new Promise<void>((resolve) => {
      for (const worker of workers) {
        onMessages(worker, (messages) => {
          for (const { payload, attempt } of messages) {
            seen.set(payload, (seen.get(payload) ?? 0) + 1)
            attempts.add(attempt)
          }
          worker.send({ type: 'ack', ids: messages.map(({ id }) => id) })
          if (seen.size === count) resolve()
        })
      }
    })
    expect([...seen.values()].every((times) => times === 1)).toBe(true)
    expect([...attempts]).toEqual([1])
    expect((await hub.rssMiB()) - before).toBeLessThan(250)
    await Promise.all(workers.map((worker) => worker.cut()))
  }, 120_000)
})

/** Sends `count` numbered messages, at most 1,000 without an answer. */
async function fill(alice: TestAgent, count: number): Promise<void> {
  let sent = 0
  let stored = 0
  await new Promise<void>((resolve, reject) => {
    const more = (): void => {
      const lines: string[] = []
      while (sent < count && sent - stored < 1_000)
        lines.push(JSON.stringify({ ...sendFrame(NLP, sent), ref: sent++ }))
      if (lines.length > 0) alice.raw(lines.join('\n'))
    }
    alice.webSocket.on('message', (data: Buffer) => {
      for (const line of data.toString().split('\n')) {
        if (line.startsWith('{"type":"ok"')) stored++
        else if (line.startsWith('{"type":"error"')) reject(new Error(line))
      }
      if (stored === count) resolve()
      else if (sent - stored < 500) more()
    })
    more()
  })
  alice.texts.length = 0
  alice.takeWaiting()
}

/** Messages as they come, those of one WebSocket message together. */
function onMessages(worker: TestAgent, listener: (messages: Message[]) => void): void {
  const read = (lines: readonly string[]): void => {
    const messages = lines
      .filter((line) => line.startsWith('{"type":"message"'))
      .map((line) => JSON.parse(line) as Message)
    if (messages.length > 0) listener(messages)
  }
  worker.webSocket.on('message', (data: Buffer) => {
    read(data.toString().split('\n'))
    worker.texts.length = 0
    worker.takeWaiting()
  })
  read(worker.texts.flatMap((text) => text.split('\n')))
}

describe('work on redis', () => {
  test('of a hub that is killed is handed on: to its worker that comes back elsewhere, else to another', async () => {
    const flags = await flagsOf('redis', { '--hub-lease-ms': 1_000, '--hub-grace-ms': 1_500 })
    await using first = await startHubProcess(flags)
    await using second = await startHubProcess(flags)
    await using alice = await connectAgent(second, asker)
    await using patient = await connectAgent(first, { id: 'patient' })
    await using lost = await connectAgent(first, { id: 'lost' })
    const ids = [(await send(alice, NLP, 'a')).id, (await send(alice, NLP, 'b')).id]
    const [a, b] = await Promise.all([patient.next('message'), lost.next('message')])
    expect([a.id, b.id].toSorted()).toEqual(ids.toSorted())
    await using heir = await connectAgent(second, { id: 'heir' })
    await first.kill()
    await using back = await connectAgent(second, { id: 'patient', session: patient.session })
    expect(await back.next('message')).toEqual({ ...a, attempt: 2 })
    expect(await heir.next('message', () => true, 10_000)).toEqual({ ...b, attempt: 2 })
    back.send({ type: 'ack', ids: [a.id] })
    heir.send({ type: 'ack', ids: [b.id] })
    await Promise.all([back.roundTrip(), heir.roundTrip()])
    expect([...back.waitingOf('message'), ...heir.waitingOf('message')]).toEqual([])
  }, 60_000)
})
