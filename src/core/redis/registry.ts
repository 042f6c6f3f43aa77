import { LIMITS } from '../../../protocol/limits.ts'
import type {
  AgentRecord,
  BeatRequest,
  BeatResult,
  ChangeResult,
  EnrolRequest,
  EnrolResult,
  EventsSince,
  LeaveRequest,
  LeaveResult,
  PushMarks,
  ReclaimRequest,
  RegisterRequest,
  RegisterResult,
  Registry,
  RegistryEvent,
  RegistrySnapshot,
  UpdateRequest,
} from '../registry.ts'
import { parseEvent, parseRecord } from './event-text.ts'
import type { ScriptReply } from './connections.ts'
import { EpochEnded } from './store-error.ts'
import { runWithSenders, taskArgs, type Store } from './store.ts'

type HashReply = string[]

const parseMarksField = (text: string): PushMarks => {
  const [inbox = '', replies = '', broadcasts = ''] = text.split(';')
  return { inbox, replies, broadcasts }
}

export class RedisRegistry implements Registry {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async register(namespace: string, request: RegisterRequest): Promise<RegisterResult> {
    const keys = this.#store.keys.of(namespace)
    let holder = ''
    for (;;) {
      const reply = (await runWithSenders(
        this.#store,
        'register',
        keys,
        [...keys.registry(), ...keys.own(request.agentId), ...keys.own(holder)],
        [
          ...taskArgs(this.#store, keys),
          request.agentId,
          JSON.stringify(request.registration),
          request.hub,
          request.sessionHash,
          request.proofHash ?? '',
          request.proved ? 1 : 0,
          request.silentFence ?? '',
          request.producer ?? '',
          holder,
          LIMITS.producersMax,
          LIMITS.producerWindow,
          request.registeredAt ?? '',
          request.owner ?? '',
          this.#store.limits.namespaceAgentsMax,
        ],
      )) as string[]
      const [outcome, ...rest] = reply
      if (outcome === 'held') return { outcome, hub: rest[0] || null, fence: Number(rest[1]) }
      if (outcome === 'not_owner' || outcome === 'full') return { outcome }
      if (outcome === 'name_taken') return { outcome, holder: rest[0] ?? '' }
      if (outcome === 'registered') return parseRegistered(rest)
      // An offline agent has the name: its keys have to be declared for it to be unregistered.
      holder = rest[0] ?? ''
    }
  }

  async enrol(namespace: string, request: EnrolRequest): Promise<EnrolResult> {
    const keys = this.#store.keys.of(namespace)
    let holder = ''
    for (;;) {
      const reply = (await runWithSenders(
        this.#store,
        'enrol',
        keys,
        [...keys.registry(), ...keys.own(request.agentId), ...keys.own(holder)],
        [
          ...taskArgs(this.#store, keys),
          request.agentId,
          JSON.stringify(request.registration),
          request.door,
          request.staleMs,
          holder,
          request.registeredAt ?? '',
          request.owner ?? '',
          this.#store.limits.namespaceAgentsMax,
        ],
      )) as string[]
      const [outcome, ...rest] = reply
      if (outcome === 'held' || outcome === 'full' || outcome === 'not_owner') return { outcome }
      if (outcome === 'name_taken') return { outcome, holder: rest[0] ?? '' }
      if (outcome === 'registered') {
        const [resumed, ...events] = rest
        return { outcome, resumed: Number(resumed) === 1, events: events.map(parseEvent) }
      }
      holder = rest[0] ?? ''
    }
  }

  async beat(namespace: string, request: BeatRequest): Promise<BeatResult> {
    const keys = this.#store.keys.of(namespace)
    const reply = (await runWithSenders(this.#store, 'beat', keys, keys.registry(), [
      ...taskArgs(this.#store, keys),
      request.agentId,
      request.door,
      request.staleMs,
      request.status ?? '',
      request.statusReason == null ? 0 : 1,
      request.statusReason ?? '',
      request.owner ?? '',
    ])) as string[] | null
    if (reply === null) return { outcome: 'unknown' }
    if (reply[0] === 'not_owner') return { outcome: 'not_owner' }
    const [at, leader, ...events] = reply
    return { outcome: 'alive', at: Number(at), leader: leader || null, events: events.map(parseEvent) }
  }

  async update(namespace: string, request: UpdateRequest): Promise<ChangeResult> {
    const keys = this.#store.keys.of(namespace)
    const reply = await runWithSenders(this.#store, 'update', keys, keys.registry(), [
      ...taskArgs(this.#store, keys),
      request.agentId,
      request.fence,
      request.registration ? JSON.stringify(request.registration) : '',
      request.status ?? '',
      request.statusReason === null ? 0 : 1,
      request.statusReason ?? '',
    ])
    return parseChange(reply as string[] | null)
  }

  async leave(namespace: string, request: LeaveRequest): Promise<LeaveResult> {
    const keys = this.#store.keys.of(namespace)
    const { marks } = request
    const reply = await runWithSenders(
      this.#store,
      'leave',
      keys,
      [...keys.registry(), ...keys.own(request.agentId)],
      [
        ...taskArgs(this.#store, keys),
        request.agentId,
        request.fence ?? '',
        request.departure,
        request.graceMs,
        marks ? 1 : 0,
        marks ? `${marks.inbox};${marks.replies};${marks.broadcasts}` : '',
        request.door ?? '',
        request.owner ?? '',
      ],
    )
    if (reply === 'not_owner') return { outcome: 'not_owner' }
    return parseChange(reply as string[] | null)
  }

  async reclaim(namespace: string, { agentId, fence, hub }: ReclaimRequest): Promise<ChangeResult> {
    const keys = this.#store.keys.of(namespace)
    const args = [...taskArgs(this.#store, keys), agentId, fence, hub]
    const reply = await runWithSenders(this.#store, 'reclaim', keys, keys.registry(), args)
    return parseChange(reply as string[] | null)
  }

  async due(namespace: string, limit: number): Promise<readonly string[]> {
    const keys = this.#store.keys.of(namespace)
    return (await this.#store.run(keys, 'due', [keys.deadlines], [limit])) as string[]
  }

  async expire(namespace: string, agentId: string): Promise<readonly RegistryEvent[]> {
    const keys = this.#store.keys.of(namespace)
    const reply = await runWithSenders(
      this.#store,
      'expire',
      keys,
      [...keys.registry(), ...keys.own(agentId)],
      [...taskArgs(this.#store, keys), agentId],
    )
    return (reply as string[]).map(parseEvent)
  }

  async snapshot(namespace: string): Promise<RegistrySnapshot> {
    const keys = this.#store.keys.of(namespace)
    // What is known of an epoch before is done with.
    const epoch = await this.#store.epochs.open(keys)
    keys.epoch = epoch.name
    const reply = await this.#store.run(
      keys,
      'snapshot',
      [keys.meta, keys.agents, keys.state, keys.sessions],
      [],
    )
    const [meta, registrations, states, heartbeats] = reply as [
      (string | null)[],
      HashReply,
      HashReply,
      HashReply,
    ]
    const beats = new Map<string, number>()
    for (let i = 0; i < heartbeats.length; i += 2) beats.set(heartbeats[i] ?? '', Number(heartbeats[i + 1]))
    const stateById = new Map<string, string>()
    for (let i = 0; i < states.length; i += 2) stateById.set(states[i] ?? '', states[i + 1] ?? '')
    const agents: AgentRecord[] = []
    for (let i = 0; i < registrations.length; i += 2) {
      const id = registrations[i] ?? ''
      agents.push(parseRecord(id, registrations[i + 1] ?? '', stateById.get(id) ?? ''))
    }
    // Not before: until it knows the registry, whoever remembers numbers of before would mean others with them now.
    this.#store.epochs.adopt(keys.root, epoch)
    return {
      epoch: epoch.name,
      revision: Number(meta[0] ?? 0),
      agents,
      leader: meta[1] || null,
      term: Number(meta[2] ?? 0),
      beats,
    }
  }

  async since(namespace: string, revision: number, limit: number): Promise<EventsSince> {
    const keys = this.#store.keys.of(namespace)
    let reply: ScriptReply
    try {
      reply = await this.#store.run(keys, 'since', [keys.meta, keys.events], [revision, revision + 1, limit])
    } catch (error) {
      if (error instanceof EpochEnded) return { events: [], complete: false }
      throw error
    }
    const [current, first, ...texts] = reply as (string | null)[]
    const latest = Number(current ?? 0)
    const complete =
      revision === latest || (revision < latest && first != null && Number(first) <= revision + 1)
    return { events: complete ? texts.map((text) => parseEvent(text ?? '')) : [], complete }
  }

  async sessionsOf(namespace: string, hub: string): Promise<readonly { agentId: string; fence: number }[]> {
    const reply = (await this.#store.connections.call('HGETALL', this.#store.keys.of(namespace).sessions)) as
      | HashReply
      | Record<string, string>
    const found: { agentId: string; fence: number }[] = []
    const entries: [string, string][] = Array.isArray(reply)
      ? Array.from({ length: reply.length / 2 }, (_, i) => [reply[2 * i] ?? '', reply[2 * i + 1] ?? ''])
      : Object.entries(reply)
    for (const [agentId, session] of entries) {
      const [fence, where] = session.split(' ')
      if (where === hub) found.push({ agentId, fence: Number(fence) })
    }
    return found
  }

  async connectedByHub(namespace: string): Promise<ReadonlyMap<string, number>> {
    const { sessions } = this.#store.keys.of(namespace)
    const counts = new Map<string, number>()
    const counted = new Set<string>()
    // In parts, since there may be very many; a part may name an agent that one before has named.
    let cursor = '0'
    do {
      const [next, entries] = (await this.#store.connections.call(
        'HSCAN',
        sessions,
        cursor,
        'COUNT',
        1_000,
      )) as unknown as [string, string[]]
      for (let i = 0; i < entries.length; i += 2) {
        const agentId = entries[i] ?? ''
        const [, hub = '-'] = (entries[i + 1] ?? '').split(' ')
        if (hub === '-' || counted.has(agentId)) continue
        counted.add(agentId)
        counts.set(hub, (counts.get(hub) ?? 0) + 1)
      }
      cursor = next
    } while (cursor !== '0')
    return counts
  }
}

function parseRegistered(reply: readonly string[]): RegisterResult {
  const [fence, resumed, displacedHub, displacedFence, base, pending, holding, marks = '', ...events] = reply
  return {
    outcome: 'registered',
    fence: Number(fence),
    resumed: Number(resumed) === 1,
    displaced: displacedHub ? { hub: displacedHub, fence: Number(displacedFence) } : null,
    producerBase: base ? Number(base).toString(36) : '',
    pending: Number(pending),
    holding: Number(holding),
    marks: parseMarksField(marks),
    events: events.map(parseEvent),
  }
}

function parseChange(reply: readonly string[] | null): ChangeResult {
  return reply === null ? { outcome: 'fenced' } : { outcome: 'changed', events: reply.map(parseEvent) }
}
