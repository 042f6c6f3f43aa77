import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../protocol/limits.ts'
import { connectObserver } from '../support/agent.ts'
import {
  chunkFrame,
  chunks,
  credited,
  fill,
  grant,
  openStream,
  payloads,
  pour,
  sendChunks,
  startTalk,
} from '../support/streams.ts'
import { join, PLACES, reconnect, seen } from '../support/talk.ts'

describe.each(PLACES)('a stream on %s with %i hubs', (core, hubs) => {
  const start = (settings: Parameters<typeof startTalk>[2] = {}) => startTalk(core, hubs, settings)

  test('carries chunks of any JSON in order, from 0, to its end', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    expect(stream.received).not.toBe('s1')
    bob.send({ type: 'stream.credit', stream: stream.received, credit: 9 })
    const sent = [
      'Hel',
      { a: [1, null] },
      null,
      '',
      'line\nbreak "quoted" é\ud83d\ude00',
      0,
      -1.5e300,
      [[]],
      true,
    ]
    await pour(alice, 's1', 0, sent)
    const got = await chunks(bob, stream.received, sent.length)
    expect(got.map(({ payload }) => payload)).toEqual(sent)
    expect(got.map(({ seq }) => seq)).toEqual(sent.map((_, i) => i))
    alice.send({ type: 'stream.end', stream: 's1', error: null })
    expect(await bob.next('stream.end')).toEqual({
      type: 'stream.end',
      stream: stream.received,
      error: null,
    })
    await bob.roundTrip()
    await alice.roundTrip()
    expect([...bob.waiting, ...alice.waiting]).toEqual([])
  })

  test('tells the receiver who opened it and for which query, and the sender that it is open before any credit', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    alice.send({ type: 'stream.open', ref: 4, stream: 's1', to: { agent: 'bob' }, correlationId: 'c1' })
    const opened = await bob.next('stream.open')
    expect(opened).toEqual({
      type: 'stream.open',
      stream: opened.stream,
      from: 'alice',
      correlationId: 'c1',
    })
    bob.send({ type: 'stream.credit', stream: opened.stream, credit: 2 })
    await alice.next('stream.credit')
    expect(alice.texts.join('\n')).toMatch(/"ok","ref":4,"result":\{\}\}[^]*stream\.credit/)
    alice.send({ type: 'stream.open', ref: 5, stream: 's2', to: { agent: 'bob' } })
    expect(await bob.next('stream.open')).not.toHaveProperty('correlationId')
  })

  test('waits for credit: the sender gets what the receiver grants, and no more', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 2)
    sendChunks(alice, 's1', 0, [0, 1])
    expect(await payloads(bob, stream.received, 2)).toEqual([0, 1])
    await grant(alice, bob, stream, 1)
    await grant(alice, bob, stream, 3)
    sendChunks(alice, 's1', 2, [2, 3, 4, 5])
    expect(await payloads(bob, stream.received, 4)).toEqual([2, 3, 4, 5])
    await bob.roundTrip()
    await alice.roundTrip()
    expect(alice.waiting).toEqual([])
  })

  test('of a sender out of credit that sends anyway closes it with 4400, and ends for the receiver with peer_gone', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 1)
    sendChunks(alice, 's1', 0, ['allowed', 'not allowed'])
    expect(await alice.closed).toMatchObject({ code: 4400 })
    expect(await payloads(bob, stream.received, 1)).toEqual(['allowed'])
    expect(await bob.next('stream.end')).toEqual({
      type: 'stream.end',
      stream: stream.received,
      error: { code: 'peer_gone', message: 'agent "alice" is gone' },
      seq: 0,
    })
  })

  test('ends with the error of its sender', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    const error = { code: 'model_failed', message: 'out of memory' }
    alice.send({ type: 'stream.end', stream: 's1', error })
    expect(await bob.next('stream.end')).toEqual({ type: 'stream.end', stream: stream.received, error })
  })

  test('that the receiver cancels is over for both, and no end follows', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 3)
    bob.send({ type: 'stream.cancel', stream: stream.received, reason: 'not needed' })
    expect(await alice.next('stream.cancel')).toEqual({
      type: 'stream.cancel',
      stream: 's1',
      reason: 'not needed',
    })
    sendChunks(alice, 's1', 0, ['too late'])
    alice.send({ type: 'stream.end', stream: 's1', error: null })
    const next = await openStream(alice, bob, 's1')
    await grant(alice, bob, next, 1)
    sendChunks(alice, 's1', 0, ['the next one'])
    expect(await payloads(bob, next.received, 1)).toEqual(['the next one'])
    expect(bob.waiting).toEqual([])
  })

  test('frames for one that is unknown or over are ignored', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    alice.send({ type: 'stream.end', stream: 's1' })
    await bob.next('stream.end')
    for (const id of [stream.received, 's1', 'never']) {
      for (const agent of [alice, bob]) {
        agent.send({ type: 'stream.credit', stream: id, credit: 5 })
        agent.send(chunkFrame(id, 0, 'x'))
        agent.send({ type: 'stream.end', stream: id, error: { code: 'x', message: 'y' } })
        agent.send({ type: 'stream.cancel', stream: id })
      }
    }
    await alice.roundTrip()
    await bob.roundTrip()
    await openStream(alice, bob, 's2')
    expect([...alice.waiting, ...bob.waiting]).toEqual([])
  })

  test('ends at once with peer_gone and the last chunk passed on when its sender is gone, closes or says bye', async () => {
    await using talk = await start()
    const { mesh, bob } = talk
    const goings = [
      (agent: typeof bob) => agent.cut(),
      (agent: typeof bob) => agent.close(),
      (agent: typeof bob) => agent.request({ type: 'bye' }),
      (agent: typeof bob) => agent.request({ type: 'bye', keep: true }),
    ]
    for (const go of goings) {
      const carol = await join(mesh.near, 'carol')
      const stream = await openStream(carol, bob, 's1')
      await grant(carol, bob, stream, 3)
      sendChunks(carol, 's1', 0, ['a', 'b'])
      await chunks(bob, stream.received, 2)
      const at = performance.now()
      await go(carol)
      expect(await bob.next('stream.end')).toEqual({
        type: 'stream.end',
        stream: stream.received,
        error: { code: 'peer_gone', message: 'agent "carol" is gone' },
        seq: 1,
      })
      expect(performance.now() - at).toBeLessThan(1_000)
      await carol.cut()
    }
  })

  test('ends at once with peer_gone for the sender when its receiver is gone', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 3)
    sendChunks(alice, 's1', 0, ['a', 'b'])
    await chunks(bob, stream.received, 2)
    const at = performance.now()
    await bob.cut()
    expect(await alice.next('stream.end')).toEqual({
      type: 'stream.end',
      stream: 's1',
      error: { code: 'peer_gone', message: 'agent "bob" is gone' },
      seq: 1,
    })
    expect(performance.now() - at).toBeLessThan(1_000)
  })

  test('does not outlive a session: one that is taken over ends the streams of the old connection', async () => {
    await using talk = await start()
    const { mesh, alice, bob } = talk
    await openStream(alice, bob, 's1')
    await using newcomer = await reconnect(mesh.near, bob)
    expect(await alice.next('stream.end')).toMatchObject({ error: { code: 'peer_gone' }, seq: -1 })
    await seen(mesh.near, 'bob', ({ connected, hub }) => connected && hub === mesh.near.id)
    const stream = await openStream(alice, newcomer, 's1')
    await grant(alice, newcomer, stream, 1)
  })

  test('that its sender has ended is read to the end after the sender has left', async () => {
    await using talk = await start()
    const { mesh, bob } = talk
    const carol = await join(mesh.near, 'carol')
    const stream = await openStream(carol, bob, 's1')
    bob.send({ type: 'stream.credit', stream: stream.received, credit: 1_000 })
    await bob.roundTrip()
    bob.pause()
    const large = 'x'.repeat(100_000)
    const sent = await fill(carol, 's1', large)
    carol.send({ type: 'stream.end', stream: 's1' })
    await carol.request({ type: 'bye' })
    await carol.closed
    bob.resume()
    expect(await payloads(bob, stream.received, sent)).toEqual(Array.from({ length: sent }, () => large))
    expect(await bob.next('stream.end')).toMatchObject({ error: null })
  })

  test('is refused to who is not connected, unknown, or no agent id', async () => {
    await using talk = await start()
    const { mesh, alice, bob } = talk
    const open = (to: object) => alice.refusal({ type: 'stream.open', stream: 's1', to })
    expect(await open({ agent: 'nobody' })).toMatchObject({
      code: 'unknown_target',
      message: expect.stringContaining('agent "nobody" is not in namespace "default"') as string,
    })
    await bob.close()
    await seen(mesh.near, 'bob', ({ connected }) => !connected)
    expect(await open({ agent: 'bob' })).toMatchObject({
      code: 'unknown_target',
      message: expect.stringContaining('agent "bob" is not connected') as string,
    })
    for (const to of [{ name: 'alice-name' }, { leader: true }, { capability: 'nlp' }, {}])
      expect(await open(to)).toMatchObject({ code: 'bad_frame' })
  })

  test('is forbidden to an observer', async () => {
    await using talk = await start()
    await using observer = await connectObserver(talk.mesh.near)
    const refusal = await observer.refusal({ type: 'stream.open', stream: 's1', to: { agent: 'bob' } })
    expect(refusal.code).toBe('forbidden')
  })

  test('has an id that the sender uses once at a time, and that the hub keeps apart from those it chooses', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const first = await openStream(alice, bob, 's1')
    const again = { type: 'stream.open', stream: 's1', to: { agent: 'bob' } }
    expect(await alice.refusal(again)).toMatchObject({ code: 'bad_frame' })
    expect(await bob.refusal({ ...again, stream: first.received })).toMatchObject({ code: 'bad_frame' })
    const back = await openStream(bob, alice, 's1')
    await Promise.all([grant(alice, bob, first, 1), grant(bob, alice, back, 1)])
    sendChunks(alice, 's1', 0, ['there'])
    sendChunks(bob, 's1', 0, ['and back'])
    expect(await payloads(bob, first.received, 1)).toEqual(['there'])
    expect(await payloads(alice, back.received, 1)).toEqual(['and back'])
  })

  test('leads from an agent to itself, too', async () => {
    await using talk = await start()
    const { alice } = talk
    const stream = await openStream(alice, alice, 's1')
    await grant(alice, alice, stream, 1)
    sendChunks(alice, 's1', 0, ['echo'])
    expect(await payloads(alice, stream.received, 1)).toEqual(['echo'])
  })

  test('is one of at most 1,000 of a connection, in both directions together', async () => {
    await using talk = await start()
    const { mesh, alice, bob } = talk
    await using carol = await join(mesh.near, 'carol')
    const opens = Array.from({ length: LIMITS.streamsMax }, (_, i) =>
      openStream(i % 2 ? alice : bob, i % 2 ? bob : alice, `s${i}`),
    )
    const streams = await Promise.all(opens)
    const more = { type: 'stream.open', stream: 'more', to: { agent: 'carol' } }
    expect(await alice.refusal(more)).toMatchObject({
      code: 'bad_frame',
      message: 'this connection has 1000 streams open; end or cancel one first',
    })
    const toFull = { ...more, to: { agent: 'bob' } }
    expect(await carol.refusal(toFull)).toMatchObject({
      code: 'inbox_full',
      retryable: true,
      message: 'agent "bob" has 1000 streams open; try again later',
    })
    alice.send({ type: 'stream.end', stream: streams[1]?.sent })
    await bob.next('stream.end')
    await openStream(alice, bob, 'more')
  })

  test('ends for both where a chunk breaks a rule: its seq, its size, its depth', async () => {
    await using talk = await start({ maxMessageBytes: 65_536 })
    const { alice, bob } = talk
    const deep = JSON.parse('['.repeat(129) + ']'.repeat(129)) as unknown
    const wrong: readonly (readonly [seq: number, payload: unknown, code: string])[] = [
      [2, 'gap', 'bad_frame'],
      [0, 'again', 'bad_frame'],
      [1, deep, 'bad_frame'],
      [1, 'x'.repeat(62_000), 'payload_too_large'],
    ]
    for (const [seq, payload, code] of wrong) {
      const stream = await openStream(alice, bob, 's1')
      await grant(alice, bob, stream, 3)
      sendChunks(alice, 's1', 0, ['right'])
      sendChunks(alice, 's1', seq, [payload])
      const told = { type: 'stream.end', error: { code }, seq: 0 }
      expect(await alice.next('stream.end')).toMatchObject({ ...told, stream: 's1' })
      expect(await payloads(bob, stream.received, 1)).toEqual(['right'])
      expect(await bob.next('stream.end')).toMatchObject({ ...told, stream: stream.received })
    }
  })

  test('is not slowed down by the rate limit', async () => {
    await using talk = await start({ ratePerSecond: 10, rateBurst: 100 })
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    const at = performance.now()
    for (let i = 0; i < 1_000; i++) {
      await grant(alice, bob, stream, 1)
      alice.send(chunkFrame('s1', i, i))
    }
    await chunks(bob, stream.received, 1_000)
    expect(performance.now() - at).toBeLessThan(10_000)
  })

  test('joins the chunks of one turn in one WebSocket message', async () => {
    await using talk = await start()
    const { alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    // The hub grants many at once only to a sender of small chunks.
    await grant(alice, bob, stream, 1)
    sendChunks(alice, 's1', 0, ['small'])
    await chunks(bob, stream.received, 1)
    await grant(alice, bob, stream, 500)
    const before = bob.texts.length
    sendChunks(
      alice,
      's1',
      1,
      Array.from({ length: 500 }, (_, i) => `token ${i}`),
    )
    await chunks(bob, stream.received, 500)
    expect(bob.texts.length - before).toBe(1)
  })

  test('to a receiver that does not read holds its sender back, and goes on when it reads', async () => {
    await using talk = await start()
    const { mesh, alice, bob } = talk
    await using carol = await join(mesh.far, 'carol')
    const stream = await openStream(alice, bob, 's1')
    const other = await openStream(alice, carol, 's2')
    bob.send({ type: 'stream.credit', stream: stream.received, credit: 1_000_000 })
    await bob.roundTrip()
    bob.pause()
    const large = 'x'.repeat(500_000)
    const sent = await fill(alice, 's1', large)
    expect(sent).toBeGreaterThan(2)
    expect(sent * large.length).toBeLessThan(40_000_000)
    // The others' streams are not in its way.
    await grant(alice, carol, other, 1)
    sendChunks(alice, 's2', 0, ['not held up'])
    expect(await payloads(carol, other.received, 1)).toEqual(['not held up'])
    bob.resume()
    const got = await chunks(bob, stream.received, sent)
    expect(got.every(({ seq, payload }, i) => seq === i && payload === large)).toBe(true)
    expect(await credited(alice, 's1')).toBeGreaterThan(0)
  })
})
