import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { StatusEvent, Watch, WatchEvent } from '../../client/node.ts'
import { collector } from '../support/collector.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Fate } from '../support/fault-proxy.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { join, until } from '../support/clients.ts'

/** The next event of a watch that matches. */
async function untilEvent(watch: Watch, match: (event: WatchEvent) => boolean): Promise<WatchEvent> {
  for (;;) {
    const { value, done } = await watch.next()
    if (done === true) throw new Error('the watch is over')
    if (match(value)) return value
  }
}

// Reconnecting waits at random; these tests want to see it, not to wait for it.
beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe.each(CORES)('the client on a real mesh (%s)', (core) => {
  it('agents on two hubs send, broadcast and ask each other', async () => {
    await using mesh = await startMesh(core, 2)
    await using alice = await join(mesh.hub(0), 'alice')
    await using bob = await join(mesh.hub(1), 'bob', { groups: ['eu'] })
    bob.onMessage<number>('query', ({ payload }) => payload * 2)
    const got = collector(bob)
    expect((await alice.request<number>('bob', 21)).payload).toBe(42)
    expect((await alice.request<number>({ name: 'bob' }, 4)).payload).toBe(8)
    expect(await alice.send('bob', 'direct')).toMatchObject({ recipients: 1 })
    expect(await alice.broadcast('all')).toMatchObject({ recipients: 1 })
    await alice.broadcast('group', { to: { group: 'eu' } })
    await alice.broadcast('capability', { to: { capability: 'test' } })
    await alice.send('bob', 'transient', { durability: 'transient' })
    expect(new Set(await got.has(5))).toEqual(new Set(['all', 'capability', 'direct', 'group', 'transient']))
    await expect(alice.send('nobody', 1)).rejects.toMatchObject({ code: 'unknown_target' })
    await expect(alice.send('bob', 1, { asLeader: 1 })).rejects.toMatchObject({ code: 'stale_term' })
  })

  it('an agent with a window of one that asks back while it answers never waits for ever', async () => {
    await using mesh = await startMesh(core, 2)
    await using alice = await join(mesh.hub(0), 'alice', { window: 1, concurrency: 1 })
    await using bob = await join(mesh.hub(1), 'bob', { window: 1, concurrency: 1 })
    await using carol = await join(mesh.hub(0), 'carol', { window: 1, concurrency: 1 })
    alice.onMessage('query', async ({ payload }) => (await alice.request('bob', payload)).payload)
    bob.onMessage('query', async ({ payload }) => (await bob.request('carol', payload)).payload)
    carol.onMessage('query', ({ payload }) => ({ carol: payload }))
    const answers = await Promise.all([1, 2, 3, 4, 5].map((n) => carol.request('alice', n)))
    expect(answers.map(({ payload }) => payload)).toEqual([1, 2, 3, 4, 5].map((n) => ({ carol: n })))
  })

  it('what is sent to an agent that closed waits in its inbox, in order, for its return', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    const before = await join(hub, 'bob')
    await before.close()
    for (let n = 0; n < 20; n++) await alice.send('bob', n)
    await using bob = await join(hub, 'bob')
    expect(await collector(bob).has(20)).toEqual([...Array(20).keys()])
  })

  it('a message whose handler threw comes again after the delay, and at last is processed', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob', { redeliveryDelayMs: 20 })
    const attempts: number[] = []
    const processed = new Promise<void>((resolve) => {
      bob.onMessage(({ attempt }) => {
        attempts.push(attempt)
        if (attempts.length < 3) throw new Error('not yet')
        resolve()
      })
    })
    await alice.send('bob', 1)
    await processed
    expect(attempts).toEqual([1, 2, 3])
  })

  it('closed with unregister, an agent is gone; closed without, it is offline', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    await using watch = alice.watch()
    const bob = await join(hub, 'bob')
    const carol = await join(hub, 'carol')
    await untilEvent(watch, ({ event }) => event === 'agent.registered' && watch.agents.has('carol'))
    await bob.close({ unregister: true })
    await untilEvent(watch, ({ event }) => event === 'agent.unregistered')
    await carol.close()
    await untilEvent(watch, ({ event }) => event === 'agent.status_changed')
    expect([watch.agents.has('bob'), watch.agents.get('carol')?.status]).toEqual([false, 'offline'])
    expect((await alice.discover()).agents.map(({ id }) => id)).toEqual(['alice'])
    const all: string[] = []
    for await (const { id } of alice.discoverAll({ status: ['online', 'offline'] }, { limit: 1 }))
      all.push(id)
    expect(all).toEqual(['alice', 'carol'])
  })

  it('a watch follows the leader from one agent to the next, and the deposed one is fenced off', async () => {
    await using mesh = await startMesh(core, 2)
    const alice = await join(mesh.hub(0), 'alice')
    await using bob = await join(mesh.hub(1), 'bob')
    await using watch = bob.watch()
    await watch.ready
    expect(watch.leader.agentId).toBe('alice')
    const { term } = watch.leader
    await alice.send('bob', 'led', { asLeader: term })
    await alice.close()
    await untilEvent(watch, ({ event }) => event === 'leader.changed')
    expect(await bob.leader()).toEqual(watch.leader)
    expect([watch.leader.agentId, watch.agents.get('bob')?.isLeader, watch.leader.term > term]).toEqual([
      'bob',
      true,
      true,
    ])
  })

  it('the newcomer with the session takes over, and the old client ends as agent_taken', async () => {
    await using mesh = await startMesh(core, 2)
    const old = await join(mesh.hub(0), 'alice')
    await expect(join(mesh.hub(1), 'alice', { takenTimeoutMs: 0 })).rejects.toMatchObject({
      code: 'agent_taken',
    })
    await using newcomer = await join(mesh.hub(1), 'alice', { session: old.session as string })
    expect(await old.closed).toMatchObject({ code: 'agent_taken' })
    expect(newcomer.state).toMatchObject({ type: 'open', resumed: true })
  })

  it('what update changes is seen by a watch on the other hub, and kept over a reconnection', async () => {
    await using mesh = await startMesh(core, 2)
    await using proxy = await startFaultProxy(mesh.hub(0).url)
    await using alice = await join(proxy, 'alice')
    await using bob = await join(mesh.hub(1), 'bob')
    await using watch = bob.watch({ capabilities: { all: ['ocr'] } })
    await watch.ready
    expect(watch.agents.size).toBe(0)
    await alice.update({ capabilities: ['ocr'], status: 'degraded', statusReason: 'slow' })
    await untilEvent(watch, () => watch.agents.get('alice')?.status === 'degraded')
    const open = (async () => {
      await until(alice, 'waiting')
      await until(alice, 'open')
    })()
    proxy.cut()
    await open
    expect(alice.agent).toMatchObject({ capabilities: ['ocr'], status: 'degraded' })
  })

  it.each<[string, 'toHub' | 'toClient', string, Fate]>([
    ['the ok of a send is lost', 'toClient', 'ok', 'lose'],
    ['the connection ends after an ok', 'toClient', 'ok', 'cut'],
    ['an ok comes twice', 'toClient', 'ok', 'double'],
    ['a send is lost', 'toHub', 'send', 'lose'],
    ['a send arrives and the connection ends', 'toHub', 'send', 'cut'],
    ['a send arrives twice', 'toHub', 'send', 'double'],
    ['an ack is lost', 'toHub', 'ack', 'lose'],
    ['an ack arrives and the connection ends', 'toHub', 'ack', 'cut'],
    ['an ack arrives twice', 'toHub', 'ack', 'double'],
    ['a message is lost', 'toClient', 'message', 'lose'],
    ['a message comes twice', 'toClient', 'message', 'double'],
    ['a welcome is lost', 'toClient', 'welcome', 'lose'],
  ])('nothing is lost or handled twice when %s', async (_title, direction, type, fate) => {
    await using hub = await startTestHub(core)
    await using proxy = await startFaultProxy(hub.url)
    await using alice = await join(proxy, 'alice')
    await using bob = await join(proxy, 'bob')
    const got = collector(bob)
    let seen = 0
    if (type === 'welcome') proxy.cut()
    proxy.decide = (way, frame) => {
      if (way !== direction || frame.type !== type) return 'pass'
      seen++
      return seen % (type === 'welcome' ? 2 : 5) === 1 && seen < 12 ? fate : 'pass'
    }
    const results = []
    for (let n = 0; n < 30; n++) {
      results.push(alice.send('bob', n))
      if (n % 3 === 2) await results.at(-1)
    }
    expect(new Set((await Promise.all(results)).map(({ id }) => id)).size).toBe(30)
    expect(await got.has(30)).toEqual([...Array(30).keys()])
    await alice.send('bob', 'over')
    expect(await got.has(31)).toEqual([...Array(30).keys(), 'over'])
    expect(seen).toBeGreaterThan(1)
  })
})

describe.each(CORES)('a client among several hubs (%s)', (core) => {
  it('hops between them under load, and every message is handled once, in order per sender', async () => {
    await using mesh = await startMesh(core, 2)
    const urls = mesh.hubs.map(({ url }) => url)
    await using front = await startFaultProxy(urls[0] as string)
    const hubsSeen = new Set<string>()
    let opened = 0
    let onOpen = (): void => undefined
    const onStatus = (event: StatusEvent): void => {
      if (event.type !== 'open') return
      hubsSeen.add(event.hub)
      opened++
      onOpen()
    }
    await using alice = await join(front, 'alice', { onStatus })
    await using carol = await join(front, 'carol', { onStatus })
    await using bob = await join(front, 'bob', { onStatus })
    const got = collector(bob)
    const count = 600
    const sends: Promise<unknown>[] = []
    for (let n = 0; n < count; n++) {
      sends.push(alice.send('bob', `a${n}`), carol.send('bob', `c${n}`))
      if (n % 100 === 50) {
        const back = new Promise<void>((resolve) => {
          const before = opened
          onOpen = () => {
            if (opened === before + 3) resolve()
          }
        })
        front.target = urls.find((url) => url !== front.target) as string
        front.cut()
        await back
      } else if (n % 20 === 0) {
        await Promise.all(sends.slice(-2))
      }
    }
    await Promise.all(sends)
    const payloads = (await got.has(2 * count)) as string[]
    for (const sender of ['a', 'c']) {
      expect(payloads.filter((payload) => payload.startsWith(sender))).toEqual(
        Array.from({ length: count }, (_, n) => `${sender}${n}`),
      )
    }
    expect([payloads.length, opened, hubsSeen.size]).toEqual([2 * count, 21, 2])
  })

  it('moves to another hub when its own drains, without losing what is under way', async () => {
    await using mesh = await startMesh(core, 2)
    const [first, second] = mesh.hubs.map(({ url }) => url) as [string, string]
    await using alice = await join({ url: [first, second] }, 'alice')
    await using bob = await join({ url: [first, second] }, 'bob')
    const got = collector(bob)
    const moved = Promise.all(
      [alice, bob].map(async (client) => {
        for await (const event of client.status()) if (event.type === 'open' && event.url === second) return
      }),
    )
    const still = { here: true }
    void moved.then(() => (still.here = false))
    const draining = mesh.hub(0).drain()
    let sent = 0
    while (still.here) await alice.send('bob', sent++)
    await draining
    expect(await got.has(sent)).toEqual([...Array(sent).keys()])
    expect(alice.state).toMatchObject({ hub: mesh.hub(1).id })
  })
})
