import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { AgentRecord, RegistryEvent, RegistrySnapshot } from '../../src/core/registry.ts'
import { kindsOf, NEVER_MS, registerRequest, registration, type CoreFactory } from '../support/core.ts'
import { alike, checkRuns, same } from '../support/properties.ts'

const agent = fc.constantFrom('ann', 'ben', 'cid', 'dee')
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('register' as const),
      agent,
      name: fc.constantFrom('n-1', 'n-2', 'n-3', 'n-4', 'n-5'),
      eligible: fc.boolean(),
      ephemeral: fc.constantFrom(false, false, true),
      proof: fc.constantFrom('none', 'session', 'token', 'silent', 'stale'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      agent,
      stale: fc.constantFrom(false, false, false, true),
      status: fc.constantFrom(null, 'online' as const, 'degraded' as const),
      reason: fc.constantFrom(null, '', 'busy', 'hot'),
      eligible: fc.constantFrom(null, true, false),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('leave' as const),
      agent,
      by: fc.constantFrom('session', 'session', 'operator', 'stale'),
      departure: fc.constantFrom('lost' as const, 'lost' as const, 'keep' as const, 'unregister' as const),
      grace: fc.constantFrom(0, NEVER_MS),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('expire' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

interface ModelAgent {
  name: string
  eligible: boolean
  ephemeral: boolean
  status: 'online' | 'degraded' | 'offline'
  reason: string | null
  connected: boolean
  fence: number
  registeredAt: number
  sessionHash: string
  due: boolean
}

/** A registry as the port describes it. Each change answers the kinds of its events, without those of elections. */
class ModelRegistry {
  readonly agents = new Map<string, ModelAgent>()
  leader: string | null = null

  holderOf(name: string): string | undefined {
    return [...this.agents].find(([, candidate]) => candidate.name === name)?.[0]
  }

  /** Whether the leader changes now. */
  elect(): boolean {
    const former = this.leader === null ? undefined : this.agents.get(this.leader)
    if (former !== undefined && former.eligible && former.status !== 'offline') return false
    const candidates = [...this.agents]
      .filter(([, { eligible, status }]) => eligible && status === 'online')
      // Those of one millisecond stand in the order they came in.
      .toSorted(([, { registeredAt: a }], [, { registeredAt: b }]) => a - b)
    const next = candidates[0]?.[0] ?? null
    const changes = next !== this.leader
    this.leader = next
    return changes
  }

  goOffline(model: ModelAgent): string[] {
    model.due = false
    if (model.status === 'offline') return []
    Object.assign(model, { status: 'offline', reason: null })
    return ['agent.status_changed']
  }

  snapshot(): unknown[] {
    return [...this.agents]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, { name, eligible, ephemeral, status, reason, connected, registeredAt }]) => ({
        id,
        registration: registration(name, { leaderEligible: eligible, ephemeral }),
        state: { status, statusReason: reason, connected, registeredAt },
      }))
  }
}

/** What a hub knows that listed once and then only heard events. */
class Replica {
  readonly #agents = new Map<string, AgentRecord>()
  readonly epoch: string
  revision: number
  leader: string | null = null
  term = 0

  constructor({ epoch, revision, agents }: RegistrySnapshot) {
    this.epoch = epoch
    this.revision = revision
    for (const record of agents) this.#agents.set(record.id, record)
  }

  apply(event: RegistryEvent): void {
    same(event.revision, this.revision + 1)
    this.revision = event.revision
    if (event.event === 'leader.changed') {
      alike(event, { agentId: event.leader, old: this.leader, agent: null })
      if (event.leader === null) same(event.term, this.term)
      else same(event.term, event.revision)
    } else {
      same([event.leader, event.term], [this.leader, this.term])
      if (event.event === 'agent.unregistered') this.#agents.delete(event.agentId ?? '')
      else if (event.agent !== null) this.#agents.set(event.agent.id, event.agent)
    }
    same(event.term >= this.term, true)
    this.leader = event.leader
    this.term = event.term
  }

  snapshot(): RegistrySnapshot {
    const { revision, leader, term } = this
    const agents = [...this.#agents.values()]
    return sorted({ epoch: this.epoch, revision, agents, leader, term, beats: new Map() })
  }
}

const sorted = (snapshot: RegistrySnapshot): RegistrySnapshot => ({
  ...snapshot,
  agents: snapshot.agents.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
})

async function registryRun(core: Core, namespace: string, steps: readonly Step[]): Promise<void> {
  const { registry } = core
  const model = new ModelRegistry()
  const replica = new Replica(await registry.snapshot(namespace))
  let sessions = 0
  let latestFence = 0

  /** The events of one step: as the model says, as `since` tells them, and the registry after them. */
  const follow = async (told: readonly RegistryEvent[], kinds: readonly string[]): Promise<void> => {
    const expected = model.elect() ? [...kinds, 'leader.changed'] : kinds
    same(kindsOf(told), expected)
    const since = await registry.since(namespace, replica.revision, 1000)
    same(since, { events: told, complete: true })
    for (const event of told) replica.apply(event)
    const snapshot = sorted(await registry.snapshot(namespace))
    same(replica.snapshot(), snapshot)
    same(snapshot.leader, model.leader)
    alike(snapshot.agents, model.snapshot())
  }

  for (const action of steps) {
    if (action.kind === 'expire') {
      const due = await registry.due(namespace, 1000)
      const expected = [...model.agents].filter(([, { due: isDue }]) => isDue).map(([id]) => id)
      same(due.toSorted(), expected.toSorted())
      for (const id of due) {
        const known = model.agents.get(id)
        if (known === undefined) continue
        const kinds = known.ephemeral ? ['agent.unregistered'] : model.goOffline(known)
        if (known.ephemeral) model.agents.delete(id)
        await follow(await registry.expire(namespace, id), kinds)
      }
      continue
    }
    const known = model.agents.get(action.agent)
    switch (action.kind) {
      case 'register': {
        const { agent: agentId, name, eligible, ephemeral, proof } = action
        const sessionHash = `hash-${(sessions += 1)}`
        const fields = { name, leaderEligible: eligible, ephemeral }
        const result = await registry.register(
          namespace,
          registerRequest(agentId, {
            fields,
            sessionHash,
            hub: `hub-${sessions % 2}`,
            proofHash: proof === 'session' ? (known?.sessionHash ?? null) : null,
            proved: proof === 'token',
            silentFence: proof === 'silent' ? (known?.fence ?? null) : proof === 'stale' ? 1 : null,
          }),
        )
        const holder = model.holderOf(name)
        const held = known?.connected === true && (proof === 'none' || proof === 'stale')
        if (held) {
          alike(result, { outcome: 'held', fence: known.fence })
          break
        }
        if (holder !== undefined && holder !== agentId && model.agents.get(holder)?.status !== 'offline') {
          same(result, { outcome: 'name_taken', holder })
          break
        }
        if (result.outcome !== 'registered') throw new Error(`not registered: ${JSON.stringify(result)}`)
        same(result.resumed, known !== undefined)
        same(result.displaced?.fence ?? null, known?.connected === true ? known.fence : null)
        same(result.fence > latestFence, true)
        latestFence = result.fence
        const kinds: string[] = []
        if (holder !== undefined && holder !== agentId) {
          model.agents.delete(holder)
          kinds.push('agent.unregistered')
        }
        kinds.push(known === undefined ? 'agent.registered' : 'agent.updated')
        if (known?.status === 'offline') kinds.push('agent.status_changed')
        const back = known === undefined || known.status === 'offline'
        const own = result.events.find((event) => event.agentId === agentId)
        model.agents.set(agentId, {
          name,
          eligible,
          ephemeral,
          status: back ? 'online' : known.status,
          reason: back ? null : known.reason,
          connected: true,
          fence: result.fence,
          registeredAt: known?.registeredAt ?? own?.at ?? 0,
          sessionHash,
          due: false,
        })
        await follow(result.events, kinds)
        break
      }
      case 'update': {
        const { agent: agentId, stale, status, reason, eligible } = action
        const fields =
          known === undefined || eligible === null
            ? null
            : registration(known.name, { leaderEligible: eligible, ephemeral: known.ephemeral })
        const fence = stale ? 1 : (known?.fence ?? 1)
        const request = { agentId, fence, registration: fields, status, statusReason: reason }
        const result = await registry.update(namespace, request)
        if (known === undefined || stale || !known.connected) {
          same(result, { outcome: 'fenced' })
          break
        }
        const before = { ...known }
        known.eligible = eligible ?? known.eligible
        known.status = status ?? known.status
        known.reason = reason === null ? known.reason : reason === '' ? null : reason
        const kinds: string[] = []
        const statusChanged = known.status !== before.status
        if (fields !== null || (!statusChanged && known.reason !== before.reason)) kinds.push('agent.updated')
        if (statusChanged) kinds.push('agent.status_changed')
        same(result.outcome, 'changed')
        if (result.outcome === 'changed') await follow(result.events, kinds)
        break
      }
      case 'leave': {
        const { agent: agentId, by, departure, grace } = action
        const fence = by === 'operator' ? null : by === 'stale' ? 1 : (known?.fence ?? 1)
        const result = await registry.leave(namespace, {
          agentId,
          fence,
          departure,
          graceMs: grace,
          marks: null,
        })
        if (known === undefined || by === 'stale') {
          same(result, { outcome: 'fenced' })
          break
        }
        const kinds: string[] = []
        if (departure === 'unregister' || (departure === 'keep' && known.ephemeral)) {
          model.agents.delete(agentId)
          kinds.push('agent.unregistered')
        } else {
          if (known.connected) {
            known.connected = false
            known.due = grace === 0
            kinds.push('agent.updated')
          }
          if (departure === 'keep') kinds.push(...model.goOffline(known))
        }
        same(result.outcome, 'changed')
        if (result.outcome === 'changed') await follow(result.events, kinds)
        break
      }
    }
  }
  for (const hub of ['hub-0', 'hub-1']) {
    const live = await registry.sessionsOf(namespace, hub)
    const { agents } = await registry.snapshot(namespace)
    const expected = agents.filter(({ state }) => state.connected && state.hub === hub)
    same(
      live.toSorted((a, b) => (a.agentId < b.agentId ? -1 : 1)),
      sorted({
        epoch: '',
        revision: 0,
        agents: expected,
        leader: null,
        term: 0,
        beats: new Map(),
      }).agents.map(({ id }) => ({
        agentId: id,
        fence: model.agents.get(id)?.fence,
      })),
    )
  }
}

/** `Registry` against a model, and a replica fed by its events against `Registry`. */
export function registryProperties({ openCore }: CoreFactory, numRuns: number): void {
  test('the registry, its leader and its events are what the rules say, at every revision', async () => {
    expect.hasAssertions()
    const core = await openCore()
    await checkRuns(step, numRuns, (namespace, steps) => registryRun(core, namespace, steps))
  })
}
