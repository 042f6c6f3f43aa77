import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { BEHIND_BYTES, BEHIND_LEAST_BYTES, Flusher, Outbox, toWireFrame } from '../../src/hub/outbox.ts'

interface Pair {
  /** The hub's side. */
  readonly accepted: WebSocket
  readonly client: WebSocket
  /** The next text messages that the client gets. */
  texts(count: number): Promise<string[]>
}

/** Two ends of a real WebSocket, without deflate as the hub's are. */
async function openPair(): Promise<Pair> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  await once(server, 'listening')
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const received: string[] = []
  client.on('message', (data) => {
    received.push((data as Buffer).toString())
    client.emit('received')
  })
  const [accepted] = (await once(server, 'connection')) as [WebSocket]
  if (client.readyState !== WebSocket.OPEN) await once(client, 'open')
  onTestFinished(() => {
    client.terminate()
    accepted.terminate()
    server.close()
  })
  return {
    accepted,
    client,
    async texts(count) {
      while (received.length < count) await once(client, 'received')
      return received.splice(0, count)
    },
  }
}

interface Watched {
  readonly outbox: Outbox
  readonly flusher: Flusher
  drained: number
  slow: number
}

function openOutbox(webSocket: WebSocket, maxMessageBytes = 1_048_576): Watched {
  const flusher = new Flusher(maxMessageBytes)
  onTestFinished(() => flusher.close())
  const counts = { drained: 0, slow: 0 }
  const outbox = new Outbox(
    webSocket,
    flusher,
    Date.now(),
    () => (counts.drained += 1),
    () => (counts.slow += 1),
  )
  return Object.assign(counts, { outbox, flusher })
}

/** Bytes that the kernel has not taken of what is being written. */
const queueOf = (webSocket: WebSocket): number =>
  (webSocket as unknown as { _socket: { _handle: { writeQueueSize: number } } })._socket._handle
    .writeQueueSize

/** Resolves with a time at which the kernel takes no more of what is written, as the outbox has seen. */
async function untilStuck(webSocket: WebSocket, outbox: Outbox, from = Date.now()): Promise<number> {
  let last = -1
  // Several times the same: what the peer's kernel has room for is taken within a turn or two.
  for (let same = 0; same < 50;) {
    await new Promise(setImmediate)
    const queued = queueOf(webSocket)
    same = queued === last ? same + 1 : 0
    last = queued
  }
  outbox.checkBehind(from)
  return from
}

describe('a frame built by toWireFrame', () => {
  // What the length field of RFC 6455 changes its form at, and 0.
  it.each([0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000])(
    'of %i bytes is what ws sends, and arrives whole',
    async (bytes) => {
      const { accepted, texts } = await openPair()
      const { outbox } = openOutbox(accepted)
      const text = 'x'.repeat(bytes)
      const wire = toWireFrame(text)
      const header = bytes < 126 ? 2 : bytes < 65_536 ? 4 : 10
      expect(wire).toHaveLength(header + bytes)
      // FIN and opcode text, no mask, nothing reserved.
      expect(wire[0]).toBe(0x81)
      expect((wire[1] ?? 0) & 0x80).toBe(0)
      outbox.pushWire(wire)
      outbox.pushWire(toWireFrame('after'))
      expect(await texts(2)).toEqual([text, 'after'])
    },
  )

  it('may be written to many sockets and stays as it was', async () => {
    const pairs = await Promise.all([openPair(), openPair(), openPair()])
    const text = 'für alle ✓'.repeat(10_000)
    const wire = toWireFrame(text)
    const before = Buffer.from(wire)
    for (const { accepted } of pairs) openOutbox(accepted).outbox.pushWire(wire)
    for (const { texts } of pairs) expect(await texts(1)).toEqual([text])
    expect(wire.equals(before)).toBe(true)
  })

  it('goes side by side with what ws itself sends on the socket', async () => {
    const { accepted, client, texts } = await openPair()
    const { outbox } = openOutbox(accepted)
    outbox.pushWire(toWireFrame('ours'))
    outbox.flush()
    accepted.send('its own')
    accepted.ping('are you there')
    outbox.push('ours again')
    outbox.flush()
    accepted.close(4002, 'bye')
    expect(await texts(3)).toEqual(['ours', 'its own', 'ours again'])
    const [code] = (await once(client, 'close')) as [number]
    expect(code).toBe(4002)
  })
})

describe('an outbox', () => {
  it('joins the frames of one turn, in the order they were pushed, around frames built for many', async () => {
    const { accepted, texts } = await openPair()
    const { outbox } = openOutbox(accepted)
    outbox.push('1')
    outbox.push('2')
    outbox.pushWire(toWireFrame('3'))
    outbox.push('4')
    outbox.push('5')
    expect(await texts(3)).toEqual(['1\n2', '3', '4\n5'])
  })

  it('joins no more than maxMessageBytes, whatever the characters', async () => {
    const { accepted, texts } = await openPair()
    const { outbox } = openOutbox(accepted, 9_000)
    const frame = '✓'.repeat(1_000)
    for (let i = 0; i < 9; i++) outbox.push(frame)
    const messages = await texts(5)
    for (const message of messages) expect(Buffer.byteLength(message)).toBeLessThanOrEqual(9_000)
    expect(messages.join('\n')).toBe(Array(9).fill(frame).join('\n'))
  })

  it('drops what comes after the close', async () => {
    const { accepted, client } = await openPair()
    const { outbox } = openOutbox(accepted)
    const closed = once(client, 'close')
    accepted.close(1000)
    outbox.push('too late')
    outbox.flush()
    await closed
    expect(outbox.behind).toBe(false)
  })

  it('is behind as soon as more than 1 MiB waits, written or not, and no more when that is read', async () => {
    const { accepted, client, texts } = await openPair()
    const watched = openOutbox(accepted)
    client.pause()
    watched.outbox.push('x'.repeat(BEHIND_BYTES - 1))
    expect(watched.outbox.behind).toBe(false)
    for (let i = 0; i < 3; i++) watched.outbox.push('x'.repeat(BEHIND_BYTES / 2))
    expect(watched.outbox.behind).toBe(true)
    for (let i = 0; i < 12; i++) watched.outbox.push('x'.repeat(BEHIND_BYTES))
    watched.outbox.flush()
    expect(watched.outbox.behind).toBe(true)
    expect(watched.slow).toBe(0)
    client.resume()
    await texts(16)
    await expect.poll(() => watched.drained).toBeGreaterThan(0)
    expect(watched.outbox.behind).toBe(false)
  })

  it('is slow after it has been behind for 10 s with nothing read, and not a moment before', async () => {
    const { accepted, client } = await openPair()
    const watched = openOutbox(accepted)
    client.pause()
    const before = Date.now()
    for (let i = 0; i < 14; i++) watched.outbox.push('x'.repeat(BEHIND_BYTES))
    const stuck = await untilStuck(accepted, watched.outbox)
    expect(watched.outbox.checkBehind(before + 9_999)).toBe(true)
    expect(watched.slow).toBe(0)
    expect(watched.outbox.checkBehind(stuck + 10_000)).toBe(true)
    expect(watched.slow).toBe(1)
  })

  it('is not slow, however long it is behind, while its peer goes on reading, of one large message too', async () => {
    const { accepted, client } = await openPair()
    const watched = openOutbox(accepted, 64 * BEHIND_BYTES)
    client.pause()
    watched.outbox.push('x'.repeat(60 * BEHIND_BYTES))
    watched.outbox.flush()
    let now = await untilStuck(accepted, watched.outbox)
    const raw = (client as unknown as { _socket: Socket })._socket
    for (let i = 0; i < 5; i++) {
      const before = queueOf(accepted)
      raw.resume()
      await expect.poll(() => queueOf(accepted), { interval: 1 }).toBeLessThan(before)
      raw.pause()
      // 9 s after the last time, five times over.
      now += 9_000
      expect(watched.outbox.checkBehind(now)).toBe(true)
    }
    expect(watched.slow).toBe(0)
    const end = await untilStuck(accepted, watched.outbox, now)
    expect(watched.outbox.checkBehind(end + 10_000)).toBe(true)
    expect(watched.slow).toBe(1)
  })

  it('is behind sooner where very much waits for others, and as before when they are gone', async () => {
    const limit = 4 * BEHIND_BYTES
    const flusher = new Flusher(BEHIND_BYTES, limit)
    onTestFinished(() => flusher.close())
    const crowd = await Promise.all(
      Array.from({ length: 24 }, async () => {
        const { accepted, client } = await openPair()
        client.pause()
        const outbox = new Outbox(
          accepted,
          flusher,
          Date.now(),
          () => undefined,
          () => undefined,
        )
        return { accepted, client, outbox }
      }),
    )
    // Each is given what is stored for it, as far as it is not behind.
    for (let i = 0; i < 400; i++) {
      for (const { outbox } of crowd) {
        if (outbox.behind) continue
        outbox.push('x'.repeat(BEHIND_LEAST_BYTES))
        outbox.flush()
      }
      await new Promise(setImmediate)
    }
    expect(flusher.waitingBytes).toBeGreaterThan(limit / 4)
    expect(flusher.waitingBytes).toBeLessThan(limit + 24 * 2 * BEHIND_LEAST_BYTES)
    expect(flusher.behindBytes).toBeLessThan(BEHIND_BYTES / 4)
    for (const { accepted } of crowd) accepted.terminate()
    await expect.poll(() => flusher.waitingBytes).toBe(0)
    expect(flusher.behindBytes).toBe(limit / 16)
  })

  it('that has caught up counts anew when it falls behind again', async () => {
    const { accepted, client, texts } = await openPair()
    const watched = openOutbox(accepted)
    client.pause()
    for (let i = 0; i < 14; i++) watched.outbox.push('x'.repeat(BEHIND_BYTES))
    client.resume()
    await texts(14)
    expect(watched.outbox.checkBehind(Date.now() + 9_000)).toBe(false)
    client.pause()
    const before = Date.now()
    for (let i = 0; i < 14; i++) watched.outbox.push('x'.repeat(BEHIND_BYTES))
    expect(watched.outbox.checkBehind(before + 9_999)).toBe(true)
    expect(watched.slow).toBe(0)
  })

  it('is not slow because of one message, as large as a message may be', async () => {
    const { accepted, client } = await openPair()
    client.pause()
    const watched = openOutbox(accepted, 32 * 1_048_576)
    watched.outbox.push('x'.repeat(30 * 1_048_576))
    watched.outbox.flush()
    expect(watched.outbox.behind).toBe(true)
    expect(watched.slow).toBe(0)
  })

  it('is slow at once when 16 MiB more than the kernel takes wait, within one turn', async () => {
    const { accepted, client } = await openPair()
    const watched = openOutbox(accepted)
    client.pause()
    let pushed = 0
    while (watched.slow === 0 && pushed < 64) {
      watched.outbox.push('x'.repeat(BEHIND_BYTES))
      pushed++
    }
    expect(watched.slow).toBeGreaterThan(0)
    expect(pushed).toBeGreaterThanOrEqual(16)
    expect(pushed).toBeLessThan(40)
  })
})
