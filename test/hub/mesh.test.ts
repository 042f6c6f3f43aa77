import { describe, expect, test } from 'vitest'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { startHub } from '../../src/server.ts'
import { connectObserver } from '../support/agent.ts'
import { CORE_LIMITS, registration } from '../support/core.ts'
import { type Hop, Hopper } from '../support/hopper.ts'
import { startHubProcess } from '../support/hub-process.ts'
import { CORES, newStore, startMesh } from '../support/hubs.ts'
import { mirrorOf } from '../support/mirror.ts'
import { ack, join, numbers, pushed, read, receive, reconnect, seen, send, sendAll } from '../support/talk.ts'

describe.each(CORES)('three hubs on one store, on %s', (core) => {
  test('are one mesh: everybody reaches everybody, and every hub tells the same', async () => {
    await using mesh = await startMesh(core, 3)
    const mirrors = await Promise.all(mesh.hubs.map((hub) => mirrorOf(hub)))
    const agents = await Promise.all(
      numbers(6).map((i) => join(mesh.hub(i % 3), `agent-${i}`, { window: 1_000 })),
    )
    await Promise.all(
      agents.flatMap((from) => agents.map((to) => send(from, to.id, `${from.id} to ${to.id}`))),
    )
    for (const to of agents) {
      const expected = agents.map((from) => `${from.id} to ${to.id}`)
      expect((await read(to, 6)).toSorted()).toEqual(expected)
    }
    const [first] = agents
    if (!first) throw new Error('unreachable')
    expect(await send(first, { all: true }, 'news')).toMatchObject({ recipients: 5 })
    for (const to of agents.slice(1)) expect(await read(to, 1)).toEqual(['news'])
    await agents[1]?.request({ type: 'update', status: 'degraded' })
    await agents[2]?.request({ type: 'bye' })
    const end = await mirrorOf(mesh.hub(2))
    await Promise.all(mirrors.map((mirror) => mirror.reach(end.revision)))
    for (const mirror of mirrors) {
      expect([...mirror.states]).toEqual([...(mirrors[0]?.states ?? [])])
      expect(mirror.state).toBe(end.state)
      expect(mirror.agents.size).toBe(5)
    }
    for (const socket of [...mirrors.map((mirror) => mirror.socket), ...agents, end.socket])
      await socket.cut()
  })

  test('an agent moves from one to another with its inbox, while others go on sending to it', async () => {
    await using mesh = await startMesh(core, 3)
    await using alice = await join(mesh.hub(0), 'alice')
    let bob = await join(mesh.hub(1), 'bob', { window: 1_000 })
    const got = new Set<unknown>()
    const order: unknown[] = []
    let sent = 0
    for (let move = 0; move < 6; move++) {
      const under = sendAll(
        alice,
        'bob',
        numbers(20).map((i) => sent + i),
      )
      sent += 20
      const next = await reconnect(mesh.hub(move % 3), bob, { window: 1_000 })
      expect(next.welcome.resumed).toBe(true)
      expect(await bob.closed).toMatchObject({ code: 4409 })
      await under
      while (got.size < sent) {
        const message = await next.next('message')
        if (!got.has(message.payload)) order.push(message.payload)
        got.add(message.payload)
        // The last ones stay unacknowledged, and come again after the next move.
        if (Number(message.payload) < sent - 5) ack(next, message)
      }
      bob = next
    }
    expect(order).toEqual(numbers(sent))
    await bob.cut()
  })

  test("a hub that is closed in order leaves its agents to the others, and its name in no one's way", async () => {
    await using mesh = await startMesh(core, 3)
    await using alice = await join(mesh.hub(0), 'alice')
    const bob = await join(mesh.hub(1), 'bob')
    await send(alice, 'bob', 'unacknowledged')
    await receive(bob, 1)
    await mesh.hub(1).close()
    expect(await bob.closed).toMatchObject({ code: 4001 })
    expect(await seen(mesh.hub(2), 'bob', ({ connected }) => !connected)).toMatchObject({ status: 'online' })
    await send(alice, 'bob', 'meanwhile')
    await using back = await reconnect(mesh.hub(2), bob)
    const messages = await receive(back, 2)
    expect(messages).toMatchObject([
      { payload: 'unacknowledged', attempt: 2 },
      { payload: 'meanwhile', attempt: 1 },
    ])
    expect(await seen(mesh.hub(0), 'bob', ({ connected }) => connected)).toMatchObject({
      hub: mesh.hub(2).id,
    })
  })

  test('a hub that gives no sign of life for a lease loses its agents: not connected, then offline after the hub grace', async () => {
    await using mesh = await startMesh(core, 2, { hubLeaseMs: 900, hubGraceMs: 200 })
    const store = await mesh.store()
    // A hub that registered an agent, took a lease and was never heard of again.
    await store.leases.renew('hub-ghost', ['default'])
    const ghost = {
      hub: 'hub-ghost',
      sessionHash: 'x',
      proofHash: null,
      proved: false,
      silentFence: null,
      producer: null,
    }
    await store.registry.snapshot('default')
    await using watcher = await mirrorOf(mesh.hub(1)).then(({ socket }) => socket)
    const at = performance.now()
    await store.registry.register('default', {
      ...ghost,
      agentId: 'lost',
      registration: registration('lost-name'),
    })
    const connected = await watcher.next('event', (event) => 'agent' in event && !event.agent.connected)
    expect(connected).toMatchObject({
      event: 'agent.updated',
      agentId: 'lost',
      agent: { connected: false, status: 'online' },
    })
    expect(performance.now() - at).toBeGreaterThan(300)
    const offline = await watcher.next('event', (event) => event.event === 'agent.status_changed')
    expect(offline).toMatchObject({ agentId: 'lost', old: 'online', new: 'offline' })
    expect((await store.leases.expired()).map(({ hub }) => hub)).not.toContain('hub-ghost')
  })
})

test(
  'agents of a hub that was killed are served by another one, with all that was stored',
  { timeout: 30_000 },
  async () => {
    const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
    const times = { hubLeaseMs: 1_000, hubGraceMs: 30_000 }
    await using doomed = await startHubProcess({
      '--redis-url': redisUrl,
      '--key-prefix': keyPrefix,
      '--hub-lease-ms': times.hubLeaseMs,
      '--hub-grace-ms': times.hubGraceMs,
    })
    await using hub = await startHub({ port: 0, logLevel: 'silent', redisUrl, keyPrefix, ...times })
    await using alice = await join(hub, 'alice', { leaderEligible: false })
    const bob = await join(doomed, 'bob', { producer: 'p1', window: 2 })
    const carol = await join(doomed, 'carol')
    await sendAll(alice, 'bob', ['pushed', 'acknowledged', 'waiting'])
    const [, second] = await receive(bob, 2)
    if (second) ack(bob, second)
    expect(await read(bob, 1)).toEqual(['waiting'])
    const stored = await send(bob, 'alice', 'stored', { seq: 1 })
    expect(await read(alice, 1)).toEqual(['stored'])
    // Until the acknowledgement is in the store; it is written for all of a few milliseconds together.
    const store = await connectRedisCore({ url: redisUrl, keyPrefix, limits: CORE_LIMITS })
    await expect
      .poll(async () => (await store.inboxes.read('default', 'bob', 'inbox', 0, 10)).entries.length, {
        interval: 5,
      })
      .toBe(2)
    await store.close()
    await using watcher = await connectObserver(hub)
    await watcher.request({ type: 'subscribe' })
    await doomed.kill()
    expect((await bob.closed).code).toBe(1006)
    const lost = [await watcher.next('event'), await watcher.next('event')]
    expect(
      lost
        .map((event) => 'agent' in event && [event.agentId, event.agent.connected, event.agent.status])
        .toSorted(),
    ).toEqual([
      ['bob', false, 'online'],
      ['carol', false, 'online'],
    ])
    await send(alice, 'bob', 'meanwhile')
    await using back = await reconnect(hub, bob, { producer: 'p1' })
    expect(back.welcome).toMatchObject({ resumed: true, pending: 3 })
    const messages = await receive(back, 3)
    expect(messages.map(({ payload }) => payload)).toEqual(['pushed', 'waiting', 'meanwhile'])
    expect(messages[0]?.attempt).toBeGreaterThan(1)
    expect(await send(back, 'alice', 'stored', { seq: 1 })).toEqual({ ...stored, duplicate: true })
    expect(await pushed(back, alice)).toEqual([])
    // Who leads was on that hub; it leads on until its grace is over, and is there again before.
    await using carolBack = await reconnect(hub, carol)
    expect(carolBack.welcome.leader).toEqual(bob.welcome.leader)
  },
)

describe.each(CORES)('under load, on %s', (core) => {
  const HOPS: readonly Hop[] = ['cut', 'takeover', 'bye', 'takeover', 'cut', 'cut', 'bye', 'takeover']

  test('what an agent that hops between two hubs sends arrives once and in order', async () => {
    await using mesh = await startMesh(core, 2, { ratePerSecond: 0, graceMs: 10_000 })
    const bob = new Hopper({ id: 'bob', name: 'bob-name', window: 64 })
    await bob.connect(mesh.hub(1))
    const alice = new Hopper({ id: 'alice', name: 'alice-name' })
    await alice.connect(mesh.hub(0))
    const total = 1_600
    const stretch = total / (HOPS.length + 1)
    const hops = [...HOPS]
    for (let i = 0; i < total; i++) {
      await alice.send(i % 5 ? { agent: 'bob' } : { name: 'bob-name' }, i)
      // With that one on its way.
      if (i >= stretch * (HOPS.length - hops.length + 1))
        await alice.hop(mesh.hub(hops.length % 2), hops.shift() ?? 'cut')
    }
    await alice.answered()
    await bob.received(total)
    expect(alice.errors).toEqual([])
    expect(bob.log).toEqual(numbers(total))
    expect(hops).toEqual([])
    expect(alice.resent).toBeGreaterThan(0)
    await alice.agent.cut()
    await bob.agent.cut()
  })

  test('what is sent to an agent that hops between two hubs is processed once and in order, from each sender', async () => {
    await using mesh = await startMesh(core, 2, { ratePerSecond: 0, graceMs: 10_000 })
    const bob = new Hopper({ id: 'bob', name: 'bob-name', window: 50 })
    await bob.connect(mesh.hub(0))
    const senders = [
      new Hopper({ id: 'alice', name: 'alice-name' }),
      new Hopper({ id: 'carol', name: 'carol-name' }),
    ]
    for (const [i, sender] of senders.entries()) await sender.connect(mesh.hub(i))
    const each = 700
    const sending = Promise.all(
      senders.map(async (sender, index) => {
        for (let i = 0; i < each; i++) await sender.send({ agent: 'bob' }, [index, i])
        await sender.answered()
      }),
    )
    const total = each * senders.length
    for (const [i, how] of HOPS.entries()) {
      await bob.received(Math.floor((total / (HOPS.length + 1)) * (i + 1)))
      await bob.hop(mesh.hub((i + 1) % 2), how)
      // And a sender, while the receiver has hardly come.
      await senders[i % 2]?.hop(mesh.hub(i % 2), how)
    }
    await sending
    await bob.received(total)
    const log = bob.log as [number, number][]
    for (const index of [0, 1])
      expect(log.filter(([from]) => from === index).map(([, i]) => i)).toEqual(numbers(each))
    expect(log).toHaveLength(total)
    for (const one of [bob, ...senders]) {
      expect(one.errors).toEqual([])
      await one.agent.cut()
    }
  })

  test('broadcasts of agents that hop reach every other agent once and in order', async () => {
    await using mesh = await startMesh(core, 2, { ratePerSecond: 0, graceMs: 10_000 })
    const bob = new Hopper({ id: 'bob', name: 'bob-name', window: 50 })
    const alice = new Hopper({ id: 'alice', name: 'alice-name' })
    await bob.connect(mesh.hub(0))
    await alice.connect(mesh.hub(1))
    const total = 500
    const stretch = total / (HOPS.length + 1)
    const sending = (async () => {
      for (let i = 0; i < total; i++) {
        await alice.send({ all: true }, i, 32)
        if (i % 120 === 60) await alice.hop(mesh.hub(i % 2), i % 240 === 60 ? 'cut' : 'takeover')
      }
      await alice.answered()
    })()
    for (const [i, how] of HOPS.entries()) {
      await bob.received(Math.floor(stretch * (i + 1)))
      await bob.hop(mesh.hub((i >> 1) % 2), how)
    }
    await sending
    await bob.received(total)
    expect(bob.log).toEqual(numbers(total))
    expect([...alice.errors, ...bob.errors, ...alice.log]).toEqual([])
    expect(alice.resent).toBeGreaterThan(0)
    await bob.agent.cut()
    await alice.agent.cut()
  })
})
