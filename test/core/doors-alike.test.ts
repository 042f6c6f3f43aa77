import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Destination, Sender } from '../../src/core/sends.ts'
import { memoryFactory, redisFactory } from '../support/core-factories.ts'
import { NEVER_MS, registerRequest, registration, sendOf, toAgent, toAll } from '../support/core.ts'
import { checkRuns } from '../support/properties.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const agent = fc.constantFrom('ann', 'ben', 'cid', 'dee')
const door = fc.constantFrom('http' as const, 'http' as const, 'mxp' as const)
const name = fc.constantFrom('', '', 'n-1', 'n-2')
/** Null: authentication is off. */
const owner = fc.constantFrom(null, null, 'o', 'o', 'o:1')
const LIMITS = { httpInboxMax: 3, inboxMax: 2, namespaceAgentsMax: 3, namespaceInboxBytesMax: 700 }

const kind = <Kind extends string>(value: Kind) => fc.constant(value)
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: kind('enrol'), agent, door, name, owner, silent: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ kind: kind('register'), agent, name, owner, proved: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: kind('beat'),
      agent,
      door,
      owner,
      silent: fc.boolean(),
      reason: fc.constantFrom(null, '', 'hot'),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: kind('expire') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind('leave'),
      agent,
      door: fc.option(door),
      owner,
      departure: fc.constantFrom('lost' as const, 'keep' as const, 'unregister' as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: kind('send'),
      from: agent,
      door: fc.option(door),
      owner,
      registered: fc.boolean(),
      to: fc.option(agent),
      of: fc.constantFrom('all' as const, 'capability' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: kind('acknowledge'), agent, door, owner, index: fc.nat(3) }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

/** One core, driven; every answer without what differs from store to store. */
class Driver {
  readonly #core: Core
  readonly #namespace: string
  readonly #fences = new Map<string, number>()
  #sent = 0

  constructor(core: Core, namespace: string) {
    this.#core = core
    this.#namespace = namespace
  }

  async take(step: Step): Promise<unknown> {
    const { registry, inboxes } = this.#core
    const namespace = this.#namespace
    switch (step.kind) {
      case 'enrol': {
        const { agent: agentId, door: from, owner: by, silent } = step
        const given = registration(step.name || agentId, { transport: from })
        const staleMs = silent ? 0 : NEVER_MS
        const request = { agentId, registration: given, door: from, staleMs, owner: by }
        const result = await registry.enrol(namespace, request)
        if (result.outcome !== 'registered') return result
        return [result.resumed, result.events.map(({ event, agentId: id }) => [event, id])]
      }
      case 'register': {
        const { agent: agentId, proved, owner: by } = step
        // What is over a bound counts as pending until it goes.
        await inboxes.expireAbsent(namespace, 100)
        const result = await registry.register(
          namespace,
          registerRequest(agentId, { fields: { name: step.name || agentId }, proved, owner: by }),
        )
        if (result.outcome === 'held') return [result.outcome, result.hub]
        if (result.outcome !== 'registered') return result
        this.#fences.set(agentId, result.fence)
        const { resumed, pending, events } = result
        return [resumed, pending, events.map(({ event, agentId: id }) => [event, id])]
      }
      case 'beat': {
        const { agent: agentId, door: from, owner: by, silent, reason: statusReason } = step
        const staleMs = silent ? 0 : NEVER_MS
        const result = await registry.beat(namespace, {
          agentId,
          door: from,
          staleMs,
          statusReason,
          owner: by,
        })
        if (result.outcome !== 'alive') return result
        return [result.leader, result.events.map(({ event }) => event)]
      }
      case 'expire': {
        await this.#trim()
        const due = await registry.due(namespace, 10)
        const events: unknown[] = []
        for (const agentId of due.toSorted()) {
          for (const { event, agentId: id } of await registry.expire(namespace, agentId))
            events.push([event, id])
        }
        await inboxes.expireAbsent(namespace, 100)
        return events
      }
      case 'leave': {
        await this.#trim()
        const { agent: agentId, door: from, owner: by, departure } = step
        const request = { agentId, fence: null, departure, graceMs: 0, marks: null, owner: by }
        const result = await registry.leave(namespace, from === null ? request : { ...request, door: from })
        return result.outcome !== 'changed'
          ? result
          : result.events.map(({ event, agentId: id }) => [event, id])
      }
      case 'send': {
        const { from, door: by, owner: mine, registered, to, of } = step
        const session = { agentId: from, fence: this.#fences.get(from) ?? 1, hub: 'hub-1', producer: null }
        const sender: Sender = by === null ? session : { ...session, door: by, owner: mine, registered }
        const members = { kind: 'members', of, value: 'nlp', echo: false } as const
        const target: Destination = to === null ? (of === 'all' ? toAll() : members) : toAgent(to)
        const send = sendOf(sender, target, `m-${(this.#sent += 1)}`)
        // Until then it counts in the namespace's bytes, too.
        await inboxes.expireAbsent(namespace, 100)
        let [outcome] = await this.#core.sends.store(namespace, [send])
        if (outcome?.outcome === 'moved') [outcome] = await this.#core.sends.store(namespace, [send])
        if (outcome?.outcome !== 'broadcast') return outcome
        return { ...outcome, agentIds: outcome.agentIds?.toSorted() }
      }
      case 'acknowledge': {
        const member = { agentId: step.agent, door: step.door, owner: step.owner }
        const texts = await inboxes.peek(namespace, member, 1_000_000)
        if (texts === 'not_owner') return [texts, await inboxes.acknowledge(namespace, member, ['m-1'])]
        const ids = texts
          .slice(step.index, step.index + 1)
          .map((text) => (JSON.parse(text) as { id: string }).id)
        return [ids, await inboxes.acknowledge(namespace, member, ids)]
      }
    }
  }

  /** What is over the bound of an inbox goes at once in one store, and in a while in the other: now, before its agent may be gone. */
  async #trim(): Promise<void> {
    await this.#core.inboxes.expireAbsent(this.#namespace, 1_000)
  }

  /** What there is after a step. */
  async look(): Promise<unknown> {
    const { agents, leader } = await this.#core.registry.snapshot(this.#namespace)
    const seen = agents.map(async ({ id, registration: { name: called }, state }) => {
      const { status, statusReason, connected, hub, door: by, owner: mine } = state
      const texts = await this.#core.inboxes.peek(
        this.#namespace,
        { agentId: id, door: by ?? 'http' },
        1_000_000,
      )
      return [id, { called, status, statusReason, connected, hub, by, mine, texts }] as const
    })
    const letters = await this.#core.deadLetters.list(this.#namespace, null, 1_000)
    return {
      leader,
      agents: Object.fromEntries(await Promise.all(seen)),
      // What is over a bound goes a little later in one store than in the other.
      dead: letters
        .filter(({ reason }) => reason !== 'inbox_overflow')
        .map(({ agentId, reason }) => [agentId, reason]),
    }
  }
}

let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

test('agents that live by heartbeats are the same in memory and on Redis, whatever is done with them', async () => {
  const memory = await memoryFactory.openCore(LIMITS)
  const stored = await redisFactory(() => redis.url).openCore(LIMITS)
  await checkRuns(step, 150, async (namespace, steps) => {
    const one = new Driver(memory, namespace)
    const other = new Driver(stored, namespace)
    // A namespace begins with its first snapshot.
    expect(await one.look()).toEqual(await other.look())
    for (const taken of steps) {
      expect([taken, await one.take(taken)]).toEqual([taken, await other.take(taken)])
      expect([taken, await one.look()]).toEqual([taken, await other.look()])
    }
  })
}, 60_000)
