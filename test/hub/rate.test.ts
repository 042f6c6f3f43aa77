import { describe, expect, it } from 'vitest'
import type { SubscribeResult } from '../../protocol/replies.ts'
import { RateLimit } from '../../src/hub/rate-limit.ts'
import { connectAgent, connectObserver, openSocket } from '../support/agent.ts'
import { startApp } from '../support/app.ts'
import { startTestHub } from '../support/hubs.ts'

const lines = (count: number, frame: (index: number) => object): string =>
  Array.from({ length: count }, (_, index) => JSON.stringify(frame(index))).join('\n')
const leader = (ref: number): object => ({ type: 'leader', ref })

describe('a token bucket', () => {
  it('lets the burst through, then the rate, and says how long to wait', () => {
    const rate = new RateLimit(10, 3, 0)
    expect([rate.take(0), rate.take(0), rate.take(0)]).toEqual([0, 0, 0])
    expect(rate.take(0)).toBe(100)
    expect(rate.take(60)).toBe(40)
    expect(rate.take(100)).toBe(0)
    expect(rate.take(100)).toBe(100)
  })

  it('fills up to the burst and no further', () => {
    const rate = new RateLimit(10, 3, 0)
    for (let i = 0; i < 3; i++) rate.take(0)
    expect([rate.take(60_000), rate.take(60_000), rate.take(60_000)]).toEqual([0, 0, 0])
    expect(rate.take(60_000)).toBeGreaterThan(0)
  })

  it('has no more than the burst at once for one that took little before', () => {
    const rate = new RateLimit(10, 3, 0)
    rate.take(0)
    expect([60_000, 60_000, 60_000].map((now) => rate.take(now))).toEqual([0, 0, 0])
    expect(rate.take(60_000)).toBe(100)
  })

  it('goes on at its rate when the clock is set back', () => {
    const rate = new RateLimit(10, 1, 3_600_000)
    rate.take(3_600_000)
    expect(rate.take(0)).toBe(100)
    expect(rate.take(100)).toBe(0)
  })

  it('keeps a place for who was told to come back, whatever others reserve meanwhile', () => {
    const rate = new RateLimit(10, 1, 0)
    expect(rate.reserve(0)).toBe(0)
    const waitMs = rate.claim(0)
    expect(waitMs).toBe(100)
    for (let now = 0; now < 1_000; now += 20) rate.reserve(now)
    expect(rate.claim(waitMs)).toBe(0)
    expect(rate.claim(waitMs)).toBeGreaterThan(1_000)
  })

  it('gives a kept place back where nobody came', () => {
    const rate = new RateLimit(10, 1, 0)
    expect([rate.claim(0), rate.claim(0), rate.claim(0)]).toEqual([0, 100, 200])
    expect([rate.claim(60_000), rate.claim(60_000)]).toEqual([0, 100])
  })

  it('of rate 0 limits nothing', () => {
    const rate = new RateLimit(0, 1, 0)
    for (let i = 0; i < 1_000; i++) expect(rate.take(0)).toBe(0)
  })
})

describe('a client over its rate', () => {
  it('is not refused: it is read no faster, and everything is answered in order', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 100, rateBurst: 10 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    await using other = await connectAgent(hub, { id: 'a2' })
    const begun = Date.now()
    agent.raw(lines(40, leader))
    for (let ref = 40; ref < 60; ref++) agent.send(leader(ref))
    // Another connection has a rate of its own.
    for (let ref = 0; ref < 5; ref++) await other.request(leader(ref))
    expect(agent.waitingOf('ok').length).toBeLessThan(60)
    for (let ref = 0; ref < 60; ref++) expect(await agent.next('ok')).toMatchObject({ ref })
    const tookMs = Date.now() - begun
    // hello took one of the burst of 10.
    expect(tookMs).toBeGreaterThanOrEqual(400)
    expect(tookMs).toBeLessThan(3_000)
  })

  it('is not dropped for the silence that the hub caused', async () => {
    const heartbeat = { heartbeatIntervalMs: 100, heartbeatTimeoutMs: 100 }
    await using hub = await startTestHub('memory', { ratePerSecond: 2, rateBurst: 1, ...heartbeat })
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw(lines(3, leader))
    // A second and a half, in which none of its pongs is read.
    for (let ref = 0; ref < 3; ref++) expect(await agent.next('ok')).toMatchObject({ ref })
    agent.send(leader(9))
    await agent.next('ok')
  })

  it('keeps its id: it is not thought dead because it is not read', { timeout: 10_000 }, async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 1, rateBurst: 2 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw(lines(6, leader))
    await agent.next('ok')
    await using newcomer = await openSocket(hub)
    const hello = { protocol: 1, type: 'hello', agent: { id: 'a1', name: 'another', capabilities: ['nlp'] } }
    expect(await newcomer.refusal(hello)).toMatchObject({ code: 'agent_taken' })
    for (let ref = 1; ref < 6; ref++) expect(await agent.next('ok')).toMatchObject({ ref })
  })

  it('is counted for what is unknown or wrong as well', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 100, rateBurst: 10 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    const begun = Date.now()
    agent.raw(
      lines(40, (ref) => (ref % 2 === 0 ? { type: 'unknown', ref } : { type: 'discover', ref, limit: 'x' })),
    )
    for (let ref = 0; ref < 40; ref++) expect(await agent.next('error')).toMatchObject({ ref })
    // Two clocks are read in whole milliseconds, begin and end.
    expect(Date.now() - begun).toBeGreaterThanOrEqual(278)
  })

  it('is counted for an acknowledgement that is none', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 100, rateBurst: 10 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    const begun = Date.now()
    const wrong = [{ type: 'ack', ids: 1 }, { type: 'nack' }, { type: 'pong', metrics: 1 }]
    agent.raw(lines(40, (index) => wrong[index % wrong.length] ?? {}))
    for (let i = 0; i < 40; i++) await agent.next('error')
    expect(Date.now() - begun).toBeGreaterThanOrEqual(278)
    await agent.request(leader(1))
  })

  it('may acknowledge as much as it likes', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 1, rateBurst: 2 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw(lines(1_000, () => ({ type: 'ack', ids: ['m'] })))
    agent.raw(lines(1_000, () => ({ type: 'nack', id: 'm' })))
    agent.raw(lines(1_000, () => ({ type: 'progress', ids: ['m'] })))
    agent.raw(lines(1_000, () => ({ type: 'pong' })))
    // The second of its burst, hello was the first: had these counted, it would wait for an hour.
    await agent.request(leader(1))
  })

  it('costs the hub nothing while its frames wait: one message of 300,000 stops nobody', async () => {
    await using hub = await startTestHub('memory')
    await using flooding = await connectObserver(hub)
    await using agent = await connectAgent(hub, { id: 'a1' })
    flooding.raw(lines(300_000, () => ({})))
    await flooding.next('error')
    const cpu = process.cpuUsage()
    const begun = Date.now()
    for (let i = 0; i < 20; i++) await agent.roundTrip()
    // The frames that come free meanwhile are a few hundred, of a few microseconds each.
    await flooding.nextWhere(() => flooding.waiting.length >= 2_500, '500 more errors')
    const { user, system } = process.cpuUsage(cpu)
    expect((user + system) / 1_000).toBeLessThan((Date.now() - begun) * 0.9 + 200)
  })
})

describe('what never counts', () => {
  it('stops nobody, however much of it comes at once', async () => {
    await using hub = await startTestHub('memory')
    await using flooding = await connectAgent(hub, { id: 'a1' })
    await using agent = await connectAgent(hub, { id: 'a2' })
    const credit = JSON.stringify({ type: 'stream.credit', stream: 's', credit: 1 })
    const [begin, end] = ['begin', 'end'].map((ref) => JSON.stringify({ type: 'leader', ref }))
    flooding.raw([begin, ...Array<string>(20_000).fill(credit), end].join('\n'))
    await flooding.next('ok', ({ ref }) => ref === 'begin')
    await agent.roundTrip()
    expect(flooding.waiting).toEqual([])
    await flooding.next('ok', ({ ref }) => ref === 'end')
  })

  it('counts for its time where one frame of it takes long', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 20, rateBurst: 20 })
    await using flooding = await connectAgent(hub, { id: 'a1' })
    const nested = `${'['.repeat(480_000)}${']'.repeat(480_000)}`
    for (let i = 0; i < 3; i++) flooding.raw(`{"type":"ack","ids":[],"unknown":${nested}}`)
    const begun = Date.now()
    await flooding.request(leader(1))
    // A third of a second's worth each, at the very least: parsing takes longer than 6 ms on any machine.
    expect(Date.now() - begun).toBeGreaterThanOrEqual(300)
  })

  it('is worked on to its end, though the client is gone meanwhile', async () => {
    await using hub = await startTestHub('memory')
    await using flooding = await connectAgent(hub, { id: 'a1' })
    await using agent = await connectAgent(hub, { id: 'a2' })
    const ack = JSON.stringify({ type: 'ack', ids: ['m'] })
    const last = { type: 'send', ref: 1, to: { agent: 'a2' }, messageType: 'query', payload: 'last' }
    flooding.raw([...Array<string>(30_000).fill(ack), JSON.stringify(last)].join('\n'))
    await flooding.close()
    expect(await agent.next('message')).toMatchObject({ payload: 'last' })
  })
})

describe('frames that wait for their turn', () => {
  it('take no more memory than the text they came as', async () => {
    await using hub = await startTestHub('memory')
    const clients = await Promise.all(Array.from({ length: 10 }, () => connectObserver(hub)))
    const heapOf = (): number => {
      globalThis.gc?.()
      return process.memoryUsage().heapUsed
    }
    const before = heapOf()
    const text = '{}\n'.repeat(340_000)
    for (const client of clients) client.raw(text)
    for (const client of clients) await client.next('error')
    expect(heapOf() - before).toBeLessThan(64 * 1_048_576)
    await Promise.all(clients.map((client) => client.cut()))
  })
})

describe('the connections of one principal', () => {
  it('share a rate: together they are read no faster, each gets its turn, and others are not kept back', async () => {
    await using hub = await startApp({
      settings: { principalRatePerSecond: 100, principalRateBurst: 12 },
      principalOf: (index) => (index < 2 ? 'team' : 'other'),
    })
    await using one = await connectAgent(hub, { id: 'team:a1', name: 'agent-1' })
    await using two = await connectAgent(hub, { id: 'team:a2', name: 'agent-2' })
    await using other = await connectAgent(hub, { id: 'other:a3', name: 'agent-3' })
    const begun = Date.now()
    one.raw(lines(30, leader))
    two.raw(lines(30, leader))
    for (let ref = 0; ref < 5; ref++) await other.request(leader(ref))
    expect(one.waitingOf('ok').length + two.waitingOf('ok').length).toBeLessThan(60)
    for (let ref = 0; ref < 10; ref++) await two.next('ok', (frame) => frame.ref === ref)
    // Neither has waited for the other to be done.
    expect(one.waitingOf('ok').length).toBeLessThan(30)
    for (let ref = 0; ref < 30; ref++) expect(await one.next('ok')).toMatchObject({ ref })
    for (let ref = 10; ref < 30; ref++) expect(await two.next('ok')).toMatchObject({ ref })
    // Two hellos were of the burst of 12: 50 of the 60 had to wait for their turn.
    expect(Date.now() - begun).toBeGreaterThanOrEqual(478)
    expect(Date.now() - begun).toBeLessThan(3_000)
  })

  it('that come back at once find the rate where they left it', async () => {
    await using hub = await startApp({
      settings: { principalRatePerSecond: 20, principalRateBurst: 10 },
      principalOf: () => 'team',
    })
    const begun = Date.now()
    await using agent = await connectAgent(hub, { id: 'team:a1', name: 'agent-1' })
    agent.raw(lines(9, leader))
    for (let ref = 0; ref < 9; ref++) await agent.next('ok')
    await agent.close()
    await using again = await connectAgent(hub, { id: 'team:a1', name: 'agent-1', session: agent.session })
    again.raw(lines(9, leader))
    for (let ref = 0; ref < 9; ref++) await again.next('ok')
    expect(Date.now() - begun).toBeGreaterThanOrEqual(478)
  })

  it('may acknowledge as much as they like', async () => {
    await using hub = await startApp({
      settings: { principalRatePerSecond: 1, principalRateBurst: 2 },
      principalOf: () => 'team',
    })
    await using agent = await connectAgent(hub, { id: 'team:a1', name: 'agent-1' })
    for (const frame of [{ type: 'ack', ids: ['m'] }, { type: 'nack', id: 'm' }, { type: 'pong' }])
      agent.raw(lines(1_000, () => frame))
    await agent.request(leader(1))
  })
})

describe('an answer', () => {
  const query = (ref: number): object => ({
    type: 'send',
    ref,
    to: { agent: 'model' },
    messageType: 'query',
    payload: 'q',
    correlationId: `c${ref}`,
  })
  const answer = (ref: number): object => ({
    type: 'send',
    ref,
    to: { agent: 'asker' },
    messageType: 'response',
    payload: 'a',
    correlationId: `c${ref}`,
  })

  it('to a message that came never counts; one that answers nothing does', async () => {
    await using hub = await startApp({
      settings: { ratePerSecond: 1, rateBurst: 2, principalRatePerSecond: 0 },
    })
    const knockedAt = Date.now()
    await using model = await connectAgent(hub, { id: 'model' })
    await using asker = await connectAgent(hub, { id: 'asker' })
    asker.send(query(0))
    await model.next('message')
    const begun = Date.now()
    model.send(answer(0))
    await model.next('ok')
    // The second of its burst, hello was the first.
    await model.request(leader(1))
    expect(Date.now() - begun).toBeLessThan(900)
    // Nothing is left to be answered, and nothing of the burst: the third, a second after the first at the earliest.
    model.send(answer(2))
    await model.next('ok')
    expect(Date.now() - knockedAt).toBeGreaterThanOrEqual(990)
  })
})

describe('updates', () => {
  it('are five a second of one connection: more are read no faster, none is refused', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    const begun = Date.now()
    agent.raw(
      `${lines(8, (ref) => ({ type: 'update', ref, metadata: { n: `${ref}` } }))}\n{"type":"leader","ref":"last"}`,
    )
    for (let ref = 0; ref < 8; ref++) await agent.next('ok', (frame) => frame.ref === ref)
    await agent.next('ok', (frame) => frame.ref === 'last')
    expect(Date.now() - begun).toBeGreaterThanOrEqual(580)
  })
})

describe('subscriptions', () => {
  it('are at most 100 a connection, also when they are asked for at once; the next is bad_frame until one ends', async () => {
    await using hub = await startTestHub('memory')
    await using observer = await connectObserver(hub)
    observer.raw(lines(103, (ref) => ({ type: 'subscribe', ref, since: ref % 2 === 0 ? null : 1 })))
    let subscription = ''
    for (let ref = 0; ref < 100; ref++) {
      const ok = await observer.next('ok', (frame) => frame.ref === ref)
      subscription = (ok.result as SubscribeResult).subscription
    }
    for (let ref = 100; ref < 103; ref++) {
      const { error } = await observer.next('error', (frame) => frame.ref === ref)
      expect(error).toMatchObject({ code: 'bad_frame' })
      expect(error.message).toContain('100')
    }
    await observer.request({ type: 'unsubscribe', subscription })
    await observer.request({ type: 'subscribe' })
    expect(await observer.refusal({ type: 'subscribe' })).toMatchObject({ code: 'bad_frame' })
    // A failed one takes no place.
    await using other = await connectObserver(hub)
    for (let i = 0; i < 101; i++) {
      expect(await other.refusal({ type: 'subscribe', where: { version: 'no range' } })).toMatchObject({
        code: 'bad_frame',
      })
    }
    await other.request({ type: 'subscribe' })
  })
})
