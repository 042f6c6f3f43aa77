import { expect, test } from 'vitest'
import { toFilter } from '../../src/hub/filter.ts'
import { Replica } from '../../src/hub/replica.ts'
import { Subscription, toSeen } from '../../src/hub/subscription.ts'
import { createMemoryCore } from '../../src/server.ts'
import { CORE_LIMITS, join, NS } from '../support/core.ts'

interface Told {
  readonly type: string
  readonly revision: number
}

/** A connection that is behind after `room` frames, and one that lists everybody. */
function openSubscription(): {
  readonly subscription: Subscription
  readonly told: Told[]
  room: number
} {
  const told: Told[] = []
  const state = { told, room: 0 }
  const reader = {
    push(text: string): void {
      state.room--
      told.push(JSON.parse(text) as Told)
    },
    get behind(): boolean {
      return state.room <= 0
    },
  }
  const filter = toFilter(null, ['online', 'degraded', 'offline'])
  const subscription = new Subscription({ id: 'w1', events: ['agent.*', 'leader.changed'], filter }, reader)
  return Object.assign(state, { subscription })
}

test('events go to a connection as fast as it takes them, in order, none lost', async () => {
  const core = createMemoryCore({ limits: CORE_LIMITS })
  const replica = new Replica()
  replica.load(await core.registry.snapshot(NS))
  const since = replica.revision
  for (let i = 0; i < 10; i++) await join(core, `agent-${i}`)
  const { events } = await core.registry.since(NS, since, 100)
  for (const event of events) replica.apply(event)
  const one = openSubscription()
  one.subscription.hold()
  one.subscription.resume(replica, since, events)
  one.room = 3
  one.subscription.pump(replica)
  expect(one.told).toHaveLength(3)
  const later = await join(core, 'later')
  for (const event of later.events) one.subscription.take(toSeen(event))
  expect(one.told).toHaveLength(3)
  one.room = 5
  one.subscription.pump(replica)
  expect(one.told).toHaveLength(8)
  one.room = 100
  one.subscription.pump(replica)
  expect(one.told.map(({ revision }) => revision)).toEqual(
    [...events, ...later.events].map((e) => e.revision),
  )
  // And live ones too, while it is behind.
  one.room = 0
  const last = await join(core, 'last')
  for (const event of last.events) one.subscription.take(toSeen(event))
  expect(one.told).toHaveLength(events.length + later.events.length)
  one.room = 100
  one.subscription.pump(replica)
  expect(one.told.at(-1)?.revision).toBe(last.events.at(-1)?.revision)
  await core.close()
})

test('a connection that is behind by more events than are held back is told the list anew', async () => {
  const core = createMemoryCore({ limits: CORE_LIMITS })
  const replica = new Replica()
  const one = openSubscription()
  replica.load(await core.registry.snapshot(NS))
  one.subscription.list(replica, false)
  const { sender } = await join(core, 'busy')
  const { agentId, fence } = sender
  for (let i = 0; i < 10_010; i++) {
    const change = { registration: null, status: i % 2 ? 'online' : 'degraded', statusReason: null } as const
    const result = await core.registry.update(NS, { agentId, fence, ...change })
    if (result.outcome === 'changed') for (const event of result.events) one.subscription.take(toSeen(event))
  }
  replica.load(await core.registry.snapshot(NS))
  one.room = 100
  one.subscription.pump(replica)
  expect(one.told).toMatchObject([{ type: 'snapshot', reset: true, revision: replica.revision, last: true }])
  await core.close()
})
