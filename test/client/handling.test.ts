import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connect } from '../../client/node.ts'
import type { ReceivedMessage, StatusEvent } from '../../client/node.ts'
import { messageFrame, startScriptedHub } from '../support/scripted-hub.ts'
import type { Frame, ScriptedSocket } from '../support/scripted-hub.ts'

beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

/**
 * Pushes messages as a hub does: while fewer than the window are unacknowledged. Resolves when all are acknowledged, with the
 * most that ever were not.
 */
async function pushWithin(
  window: number,
  messages: readonly Frame[],
  socket: ScriptedSocket,
  acked: (id: string) => void,
): Promise<number> {
  const open = new Set<string>()
  let most = 0
  let next = 0
  while (next < messages.length || open.size > 0) {
    while (open.size < window && next < messages.length) {
      const message = messages[next++] as Frame
      open.add(message['id'] as string)
      socket.send(message)
    }
    most = Math.max(most, open.size)
    const { ids } = await socket.next('ack')
    for (const id of ids as string[]) {
      acked(id)
      open.delete(id)
    }
  }
  return most
}

describe('a client with slow handlers', () => {
  it('acknowledges what it has handled and nothing else, so it never holds more than its window', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ window: 4, concurrency: 2 })
    const running = new Set<string>()
    const handled = new Set<string>()
    let mostRunning = 0
    client.onMessage(async ({ id }) => {
      running.add(id)
      mostRunning = Math.max(mostRunning, running.size)
      await new Promise((resolve) => setImmediate(resolve))
      running.delete(id)
      handled.add(id)
    })
    const messages = Array.from({ length: 50 }, (_, n) => messageFrame(`m${n}`, { from: `a${n % 5}` }))
    const most = await pushWithin(4, messages, socket, (id) => expect(handled).toContain(id))
    expect([most, mostRunning, handled.size]).toEqual([4, 2, 50])
  })

  it('names its window to the hub', async () => {
    await using hub = await startScriptedHub()
    const options = { url: hub.url, name: 'tester', capabilities: ['nlp'], closeTimeoutMs: 20 }
    const connecting = connect({ ...options, window: 7 })
    const socket = await hub.accept()
    expect(await socket.welcome()).toMatchObject({ window: 7 })
    await (await connecting).close()
  })
})

describe('handlers', () => {
  it('of work and of types have their options, and are removed one by one', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ concurrency: 4 })
    const seen: string[] = []
    const note = (name: string) => (message: ReceivedMessage) => void seen.push(`${name} ${message.id}`)
    const removeWork = client.onWork('nlp', note('work'), { timeoutMs: 1000 })
    client.onMessage('task', note('task'), { timeoutMs: 1000 })
    client.onMessage(note('any'), { timeoutMs: 1000 })
    expect(() => client.onWork('nlp', note('again'))).toThrow(TypeError)
    expect(() => client.onWork('ocr', note('never'), { timeoutMs: 0 })).toThrow(RangeError)
    const work = { via: 'queue', capability: 'nlp', messageType: 'task' }
    socket.send(messageFrame('m1', work), messageFrame('m2', { messageType: 'task' }), messageFrame('m3'))
    await socket.settled()
    removeWork()
    socket.send(messageFrame('m4', work))
    await socket.settled()
    expect(seen).toEqual(['work m1', 'task m2', 'any m3', 'task m4'])
  })

  it('that take too long are told by their signal, and their message is given back', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    client.onMessage(
      (_message, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      { timeoutMs: 20 },
    )
    socket.send(messageFrame('m1'))
    expect(await socket.next('nack')).toMatchObject({ id: 'm1', reason: 'handler timed out after 20 ms' })
  })

  it('whose work the hub revokes are told by their signal', async () => {
    await using hub = await startScriptedHub()
    const events: StatusEvent[] = []
    const [client, socket] = await hub.join({ onStatus: (event) => events.push(event) })
    const aborted = new Promise<unknown>((resolve) => {
      client.onWork('nlp', (_message, { signal }) => {
        signal.addEventListener('abort', () => resolve(signal.reason))
        return new Promise(() => {})
      })
    })
    socket.send(messageFrame('w1', { via: 'queue', capability: 'nlp' }))
    socket.send({ type: 'revoked', ids: ['w1', 'w2'], reason: 'ack_timeout' })
    expect(await aborted).toMatchObject({ name: 'RevokedError' })
    await socket.settled()
    expect(events.at(-2)).toMatchObject({ type: 'revoked', message: { id: 'w1' }, reason: 'ack_timeout' })
    expect(socket.unread).toEqual([])
  })

  it('tell progress as often as the hub of the session wants, and when it pings a client whose timers are slow', async () => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.join()
    client.onWork('nlp', () => new Promise(() => {}))
    first.cut()
    const second = await hub.accept()
    const limits = { maxMessageBytes: 1_048_576, maxPayloadBytes: 1_044_480, window: 256, ackTimeoutMs: 60 }
    await second.welcome({ limits })
    second.send(messageFrame('w1', { via: 'queue', capability: 'nlp' }))
    expect(await second.next('progress')).toEqual({ type: 'progress', ids: ['w1'] })
    expect(await second.next('progress')).toEqual({ type: 'progress', ids: ['w1'] })
    second.cut()

    const third = await hub.accept()
    await third.welcome()
    third.send(messageFrame('w1', { via: 'queue', capability: 'nlp', attempt: 2 }))
    await third.settled()
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 20_000)
    third.send({ type: 'ping' })
    expect(await third.next()).toEqual({ type: 'pong' })
    expect(await third.next('progress')).toEqual({ type: 'progress', ids: ['w1'] })
  })

  it('that close() waits for in vain are told by their own signals', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ concurrency: 2 })
    const reasons: string[] = []
    const begun: string[] = []
    client.onMessage(({ id }, { signal }) => {
      begun.push(id)
      signal.addEventListener('abort', () => reasons.push((signal.reason as Error).name))
      return id === 'm1' ? undefined : new Promise(() => {})
    })
    socket.send(messageFrame('m1'), messageFrame('m2', { from: 'a3' }), messageFrame('m3', { from: 'a4' }))
    await socket.settled()
    await client.close()
    expect([begun, reasons]).toEqual([
      ['m1', 'm2', 'm3'],
      ['AbortError', 'AbortError'],
    ])
  })
})
