import { describe, expect, test } from 'vitest'
import { MeshError } from '../../protocol/errors.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import type { Signal } from '../../src/core/bus.ts'
import type { Core } from '../../src/core/core.ts'
import type { Reading } from '../../src/core/inboxes.ts'
import { createMemoryCore } from '../../src/core/memory/core.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { createApp } from '../../src/http/app.ts'
import { Hub } from '../../src/hub/hub.ts'
import type { Namespace } from '../../src/hub/namespace.ts'
import type { Session } from '../../src/hub/session.ts'
import { Sweep } from '../../src/hub/sweep.ts'
import { createLog } from '../../src/observability/log.ts'
import { VERSION } from '../../src/server.ts'
import { CORE_LIMITS, fill, join as register, NS, toAgent, toAll } from '../support/core.ts'
import { CORES, type CoreKind, newStore } from '../support/hubs.ts'
import { ack, join } from '../support/talk.ts'
import { storeWork, WORK } from '../support/work.ts'

/** Every session is looked after once in so many sweeps. */
const ROUND = 30

/** A hub that hears nothing of its store while it is deaf, and whose sweeps wait for `sweep`. */
interface SweptHub extends AsyncDisposable {
  readonly url: string
  readonly hubId: string
  /** The store, as another hub sees it. */
  readonly store: Core
  /** Calls of the hub to the store's inboxes and queues: how often each. */
  readonly calls: Map<string, number>
  deaf: boolean
  /** What `unread` fails with. */
  failure: Error | null
  /** By default as many sweeps as look after everybody. */
  sweep(times?: number): void
}

async function startSweptHub(kind: CoreKind, limits: { ackTimeoutMs?: number } = {}): Promise<SweptHub> {
  const state = { deaf: false, failure: null as Error | null }
  const calls = new Map<string, number>()
  const { redisUrl: url = '', keyPrefix = '' } = await newStore(kind)
  const all = { ...CORE_LIMITS, ...limits }
  const open = async (): Promise<Core> => connectRedisCore({ url, keyPrefix, limits: all })
  const own = kind === 'memory' ? createMemoryCore({ limits: all }) : await open()
  const store = kind === 'memory' ? own : await open()
  const counted = <Port extends object>(port: Port): Port =>
    new Proxy(port, {
      get(target, name) {
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown
        return (...args: unknown[]) => {
          calls.set(String(name), (calls.get(String(name)) ?? 0) + 1)
          if (name === 'unread' && state.failure) return Promise.reject(state.failure)
          return Reflect.apply(method, target, args)
        }
      },
    })
  const core: Core = {
    ...own,
    inboxes: counted(own.inboxes),
    queues: counted(own.queues),
    bus: {
      lossy: true,
      publish: own.bus.publish.bind(own.bus),
      subscribe: (namespace, hub, onSignal, onGap) =>
        own.bus.subscribe(
          namespace,
          hub,
          // Of messages and of work it hears nothing; what tests are told by is transient.
          (signal: Signal) => {
            if (!state.deaf || signal.kind === 'transient' || signal.kind === 'event') onSignal(signal)
          },
          onGap,
        ),
    },
  }
  const hub = new Hub({ core, settings: parseSettings(limits), log: createLog('silent') })
  const app = createApp(hub, VERSION)
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  return Object.assign(state, {
    url: `${address.replace('http', 'ws')}/mesh`,
    hubId: hub.id,
    store,
    calls,
    sweep(times = ROUND): void {
      for (const namespace of hub.namespaces) for (let i = 0; i < times; i++) namespace.sweep(Date.now())
    },
    async [Symbol.asyncDispose]() {
      await hub.close()
      await app.close()
      await own.close()
      await store.close()
    },
  })
}

const asker = { capabilities: ['asking'] }
const idle = { capabilities: ['waiting'] }

describe.each(CORES)(
  'what the store was told and the hub did not hear is found by the sweep, on %s:',
  (kind) => {
    test('a message, a reply, a broadcast, each pushed once and in order', async () => {
      await using hub = await startSweptHub(kind)
      const { sender } = await register(hub.store, 'alice', { fields: asker })
      await using bob = await join(hub, 'bob', idle)
      await using carol = await join(hub, 'carol', idle)
      hub.deaf = true
      await fill(hub.store, sender, toAgent('bob'), ['m1', 'm2'])
      await fill(hub.store, sender, toAgent('bob', 'replies'), ['r1'])
      await fill(hub.store, sender, toAll(), ['b1'])
      await bob.roundTrip()
      expect(bob.waitingOf('message')).toEqual([])
      hub.sweep()
      hub.sweep()
      const ids = [await bob.next('message'), await bob.next('message'), await bob.next('message')]
      ids.push(await bob.next('message'))
      expect(ids.map(({ id }) => id).toSorted()).toEqual(['b1', 'm1', 'm2', 'r1'])
      expect(ids.filter(({ id }) => id.startsWith('m')).map(({ id }) => id)).toEqual(['m1', 'm2'])
      expect((await carol.next('message')).id).toBe('b1')
      ack(bob, ...ids)
      hub.deaf = false
      await fill(hub.store, sender, toAgent('bob'), ['m3'])
      expect(await bob.next('message')).toMatchObject({ id: 'm3', attempt: 1 })
      hub.sweep()
      await bob.roundTrip()
      expect([...bob.waitingOf('message'), ...carol.waitingOf('message')]).toEqual([])
    })

    test('what an agent missed that came while a round was under way, at its end', async () => {
      await using hub = await startSweptHub(kind)
      const { sender } = await register(hub.store, 'alice', { fields: asker })
      await using bob = await join(hub, 'bob', idle)
      hub.sweep(ROUND - 2)
      await using carol = await join(hub, 'carol', idle)
      await carol.roundTrip()
      hub.deaf = true
      await fill(hub.store, sender, toAgent('bob'), ['m1'])
      await fill(hub.store, sender, toAgent('carol'), ['m2'])
      hub.sweep(1)
      await Promise.all([bob.roundTrip(), carol.roundTrip()])
      expect([...bob.waitingOf('message'), ...carol.waitingOf('message')]).toEqual([])
      hub.sweep(1)
      expect([(await bob.next('message')).id, (await carol.next('message')).id]).toEqual(['m1', 'm2'])
    })

    test('what waits for an agent whose window is full, when there is room again', async () => {
      await using hub = await startSweptHub(kind)
      const { sender } = await register(hub.store, 'alice', { fields: asker })
      await using bob = await join(hub, 'bob', { ...idle, window: 1 })
      await fill(hub.store, sender, toAgent('bob'), ['m1'])
      const first = await bob.next('message')
      hub.deaf = true
      await fill(hub.store, sender, toAgent('bob'), ['m2'])
      hub.sweep()
      await bob.roundTrip()
      expect(bob.waitingOf('message')).toEqual([])
      ack(bob, first)
      expect((await bob.next('message')).id).toBe('m2')
    })

    test('work that was given to an agent', async () => {
      await using hub = await startSweptHub(kind)
      const boss = await register(hub.store, 'boss', { fields: asker })
      await using bob = await join(hub, 'bob', idle)
      const { fence } = await register(hub.store, 'ann')
      await storeWork(hub.store, boss, ['m1'])
      await hub.store.queues.claim(NS, WORK, [{ agentId: 'ann', fence, room: 1, concurrency: 1 }])
      hub.sweep()
      await bob.roundTrip()
      expect(bob.waitingOf('message')).toEqual([])
      const [session] = await hub.store.registry.sessionsOf(NS, hub.hubId)
      if (!session) throw new Error('bob is not here')
      await storeWork(hub.store, boss, ['m2'])
      await hub.store.queues.claim(NS, WORK, [{ ...session, room: 1, concurrency: 1 }])
      hub.sweep()
      expect((await bob.next('message')).id).toBe('m2')
    })

    test('work that was taken away from one', async () => {
      await using hub = await startSweptHub(kind, { ackTimeoutMs: 100 })
      const boss = await register(hub.store, 'boss', { fields: asker })
      await using bob = await join(hub, 'bob', { capabilities: [WORK] })
      await storeWork(hub.store, boss, ['m1'])
      const { id } = await bob.next('message')
      hub.deaf = true
      await expect.poll(() => hub.store.queues.tick(NS, 10), { interval: 5 }).toBe(1)
      hub.sweep()
      expect(await bob.next('revoked')).toMatchObject({ ids: [id] })
    })

    test('work that waits', async () => {
      await using hub = await startSweptHub(kind)
      const boss = await register(hub.store, 'boss', { fields: asker })
      await using bob = await join(hub, 'bob', { capabilities: [WORK] })
      hub.deaf = true
      await storeWork(hub.store, boss, ['m1'])
      await bob.roundTrip()
      expect(bob.waitingOf('message')).toEqual([])
      hub.sweep()
      expect((await bob.next('message')).id).toBe('m1')
    })

    test('though the store does not answer at first', async () => {
      await using hub = await startSweptHub(kind)
      const { sender } = await register(hub.store, 'alice', { fields: asker })
      await using bob = await join(hub, 'bob', idle)
      hub.deaf = true
      await fill(hub.store, sender, toAgent('bob'), ['m1'])
      hub.failure = new MeshError('store_unavailable', 'the store does not answer')
      hub.sweep()
      expect((await bob.next('message')).id).toBe('m1')
    })
  },
)

describe.each(CORES)('a sweep, on %s,', (kind) => {
  test('asks once for many sessions, and of those with nothing new no more', async () => {
    await using hub = await startSweptHub(kind)
    const { sender } = await register(hub.store, 'alice', { fields: asker })
    const count = 150
    const agents = await Promise.all(Array.from({ length: count }, (_, i) => join(hub, `agent-${i}`, idle)))
    await Promise.all(agents.map((agent) => agent.roundTrip()))
    const [first, second] = agents
    if (!first || !second) throw new Error('nobody joined')
    await fill(hub.store, sender, toAgent(first.id), ['m1'])
    ack(first, await first.next('message'))
    await expect.poll(() => hub.calls.get('settle')).toBe(1)
    hub.calls.clear()
    hub.sweep()
    await first.roundTrip()
    expect(Object.fromEntries(hub.calls)).toEqual({ unread: 2, size: 6 })
    hub.deaf = true
    await fill(hub.store, sender, toAgent(second.id), ['m2'])
    hub.calls.clear()
    hub.sweep()
    expect((await second.next('message')).id).toBe('m2')
    expect(Object.fromEntries(hub.calls)).toEqual({ unread: 2, size: 6, read: 1 })
    await Promise.all(agents.map((agent) => agent.cut()))
  })
})

test('a round spreads many sessions over its steps, looks after each once, and does not leave out who comes meanwhile', () => {
  const sessions = new Map<string, Session>()
  const add = (agentId: string): void => {
    const delivery = { waiting: false, reading: { agentId, inbox: 0, replies: 0 } }
    sessions.set(agentId, { agentId, connection: { state: 'open' }, delivery } as unknown as Session)
  }
  const asked: string[][] = []
  const unread = (_: string, readings: readonly Reading[]): Promise<never> => {
    asked.push(readings.map(({ agentId }) => agentId))
    return new Promise(() => undefined)
  }
  const sweep = new Sweep({ name: NS, core: { inboxes: { unread } } } as unknown as Namespace, sessions)
  for (let i = 0; i < 2_000; i++) add(`agent-${i}`)
  const calls: number[] = []
  for (let step = 1; step <= ROUND; step++) {
    if (step === 10) sessions.delete('agent-1999')
    if (step === 20) for (let i = 0; i < 500; i++) add(`late-${i}`)
    const before = asked.length
    sweep.step()
    calls.push(asked.length - before)
  }
  expect(Math.max(...calls)).toBeLessThan(4)
  expect(asked.flat().toSorted()).toEqual([...sessions.keys()].toSorted())
  expect(asked).toHaveLength(20)
})
