import { describe, expect, test } from 'vitest'
import { connect } from '../../client/node.ts'
import { connectAgent } from '../support/agent.ts'
import { startHubProcess, type HubProcess } from '../support/hub-process.ts'
import { chunkFrame, chunks, openStream } from '../support/streams.ts'

const MIB = 1_048_576

const join = (hub: HubProcess, name: string) =>
  connect({ url: hub.url, id: name, name, capabilities: ['test'] })

describe('memory', () => {
  test('of hub and client stays flat over 1,000,000 chunks, to a reader that takes its time to begin', async () => {
    await using hub = await startHubProcess({})
    await using asker = await join(hub, 'asker')
    await using answerer = await join(hub, 'answerer')
    const total = 1_000_000
    let made = 0
    answerer.onMessage('query', async function* () {
      while (made < total) yield { token: made++ }
    })
    const stream = asker.requestStream<{ token: number }>('answerer', null)
    await stream.next()
    await expect.poll(() => made).toBe(64)
    await asker.leader()
    await answerer.leader()
    expect(made).toBe(64)

    let read = 1
    const hubMiB: number[] = []
    const ownMiB: number[] = []
    for await (const { token } of stream) {
      if (token !== read++) throw new Error(`chunk ${token} in place of ${read - 1}`)
      if (made - read > 64) throw new Error(`${made} made where ${read} are read`)
      if (read % 100_000 !== 0) continue
      hubMiB.push(await hub.rssMiB())
      ownMiB.push(process.memoryUsage.rss() / MIB)
    }
    expect(read).toBe(total)
    // The first fifth warms up. 100 bytes a chunk would be 76 MiB.
    for (const [first = 0, ...rest] of [hubMiB.slice(1), ownMiB.slice(1)])
      expect(Math.max(...rest) - first).toBeLessThan(40)
  }, 60_000)

  test('of the hub is bounded where many streams of large chunks lead to one that does not read', async () => {
    await using hub = await startHubProcess({})
    await using alice = await connectAgent(hub, { id: 'alice' })
    await using bob = await connectAgent(hub, { id: 'bob' })
    const streams = await Promise.all(Array.from({ length: 50 }, (_, i) => openStream(alice, bob, `s${i}`)))
    for (const { received } of streams)
      bob.send({ type: 'stream.credit', stream: received, credit: 1_000_000 })
    // All that the hub lets a sender of unknown chunks have at first.
    const counts = new Map<string, number>()
    for (const { sent } of streams)
      counts.set(sent, (await alice.next('stream.credit', ({ stream }) => stream === sent)).credit)
    await bob.roundTrip()
    const before = await hub.rssMiB()
    bob.pause()
    const large = 'x'.repeat(1_000_000)
    for (const [stream, count] of counts)
      for (let seq = 0; seq < count; seq++) alice.send(chunkFrame(stream, seq, large))
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
    expect(total).toBe(200)
    const sizes: number[] = []
    for (let left = -1; left !== alice.webSocket.bufferedAmount;) {
      left = alice.webSocket.bufferedAmount
      // Until nothing moves any more.
      await new Promise((resolve) => setTimeout(resolve, 200))
      sizes.push(await hub.rssMiB())
    }
    expect(alice.webSocket.bufferedAmount).toBeGreaterThan(100 * MIB)
    expect(Math.max(...sizes) - before).toBeLessThan(64)
    bob.resume()
    for (const { sent, received } of streams) {
      const got = await chunks(bob, received, counts.get(sent) ?? 0)
      expect(got.every(({ payload }) => (payload as string).length === large.length)).toBe(true)
      sizes.push(await hub.rssMiB())
    }
    // 200 MB go through it in two seconds, each chunk as bytes and as text: what is garbage is collected when it is.
    expect(Math.max(...sizes) - before).toBeLessThan(256)
  }, 60_000)
})
