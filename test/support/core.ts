import { onTestFinished } from 'vitest'
import type { Registration } from '../../protocol/agent.ts'
import type { Signal } from '../../src/core/bus.ts'
import type { Core, CoreLimits } from '../../src/core/core.ts'
import type {
  ChangeResult,
  LeaveRequest,
  RegisterRequest,
  RegisterResult,
  RegistryEvent,
  UpdateRequest,
} from '../../src/core/registry.ts'
import type { Destination, Send, Sender, SendOutcome } from '../../src/core/sends.ts'

/** How a suite gets at the implementation it is run on. Cores are closed when the test ends. */
export interface CoreFactory {
  /** On a store of its own, empty. */
  readonly openCore: (limits?: Partial<CoreLimits>) => Promise<Core>
  /** Two cores on one empty store, as two hubs would have. */
  readonly openPair: (limits?: Partial<CoreLimits>) => Promise<readonly [Core, Core]>
}

export const CORE_LIMITS: CoreLimits = {
  eventsMax: 10_000,
  inboxMax: 10_000,
  namespaceAgentsMax: 0,
  namespaceInboxBytesMax: 0,
  httpInboxMax: 1_000,
  httpMessageTtlMs: 3_600_000,
  broadcastMax: 10_000,
  deadMax: 10_000,
  queueMax: 100_000,
  maxAttempts: 5,
  ackTimeoutMs: 60_000,
  retentionMs: 86_400_000,
  hubLeaseMs: 15_000,
}

/** The namespace of tests that need only one. */
export const NS = 'default'

/** Longer than any test. */
export const NEVER_MS = 3_600_000

export function closeAfterTest(core: Core): Core {
  onTestFinished(() => core.close())
  return core
}

export function registration(name: string, fields: Partial<Registration> = {}): Registration {
  return {
    name,
    capabilities: ['nlp'],
    version: null,
    profiles: [],
    groups: [],
    address: null,
    metadata: {},
    concurrency: 1,
    leaderEligible: true,
    ephemeral: false,
    transport: 'websocket',
    ...fields,
  }
}

type Registered = Extract<RegisterResult, { outcome: 'registered' }>

/** A session, and what `register` said. */
export interface Joined extends Registered {
  readonly sender: Sender
}

export interface JoinOptions extends Partial<Omit<RegisterRequest, 'agentId' | 'registration'>> {
  readonly namespace?: string
  /** Fields that differ; the name is the id where nothing else is said. */
  readonly fields?: Partial<Registration>
}

export function registerRequest(agentId: string, options: JoinOptions = {}): RegisterRequest {
  const { namespace: _, fields, ...request } = options
  return {
    agentId,
    registration: registration(fields?.name ?? agentId, fields),
    hub: 'hub-1',
    sessionHash: `hash-of-${agentId}`,
    proofHash: null,
    proved: false,
    silentFence: null,
    producer: null,
    ...request,
  }
}

/** Registers an agent that nobody else holds. */
export async function join(core: Core, agentId: string, options: JoinOptions = {}): Promise<Joined> {
  const request = registerRequest(agentId, options)
  const result = await core.registry.register(options.namespace ?? NS, request)
  if (result.outcome !== 'registered')
    throw new Error(`${agentId} is not registered: ${JSON.stringify(result)}`)
  const { hub, producer } = request
  return { ...result, sender: { agentId, fence: result.fence, hub, producer } }
}

/** An update that changes nothing. */
export const updateOf = (joined: Joined, fields: Partial<UpdateRequest>): UpdateRequest => ({
  agentId: joined.sender.agentId,
  fence: joined.fence,
  registration: null,
  status: null,
  statusReason: null,
  ...fields,
})

/** Ends the session for good reason or none; by default the connection is lost, for long. */
export async function leave(
  core: Core,
  joined: Joined,
  request: Partial<LeaveRequest> = {},
): Promise<ChangeResult> {
  const { agentId, fence } = joined.sender
  const result = await core.registry.leave(NS, {
    agentId,
    fence,
    departure: 'lost',
    graceMs: NEVER_MS,
    marks: null,
    ...request,
  })
  if (result.outcome === 'not_owner') throw new Error(`${agentId} has another owner`)
  return result
}

export function eventsOf(result: ChangeResult): readonly RegistryEvent[] {
  if (result.outcome !== 'changed') throw new Error('the session is over')
  return result.events
}

export const kindsOf = (events: readonly RegistryEvent[]): string[] => events.map(({ event }) => event)

/** A frame as the hub stores it. */
export const frame = (id: string, payload = ''): string =>
  `{"type":"message","id":"${id}","payload":${JSON.stringify(payload)},"attempt":1}`

export const toAgent = (agentId: string, lane: 'inbox' | 'replies' = 'inbox'): Destination => ({
  kind: 'agent',
  agentId,
  name: null,
  lane,
})

export const toName = (name: string, agentId: string): Destination => ({
  kind: 'agent',
  agentId,
  name,
  lane: 'inbox',
})

export const toLeader = (agentId: string): Destination => ({ kind: 'leader', agentId, lane: 'inbox' })

export const transient = (recipients: number): Destination => ({ kind: 'transient', recipients })

export const toAll = (echo = false): Destination => ({ kind: 'members', of: 'all', value: '', echo })

export const toQueue = (capability: string, ifNone: 'keep' | 'fail' = 'keep'): Destination => ({
  kind: 'queue',
  capability,
  ifNone,
})

export function sendOf(sender: Sender, to: Destination, id: string, more: Partial<Send> = {}): Send {
  return { sender, seq: null, to, asLeader: null, text: frame(id), expiresAt: null, receipt: false, ...more }
}

/** Stores one send. */
export async function store(core: Core, send: Send, namespace = NS): Promise<SendOutcome> {
  const [outcome] = await core.sends.store(namespace, [send])
  if (outcome === undefined) throw new Error('no answer')
  return outcome
}

/** Fills an inbox, a queue or the log with frames by these ids. */
export async function fill(core: Core, from: Sender, to: Destination, ids: readonly string[]): Promise<void> {
  const outcomes = await core.sends.store(
    NS,
    ids.map((id) => sendOf(from, to, id)),
  )
  for (const { outcome } of outcomes) {
    if (outcome !== 'stored' && outcome !== 'broadcast' && outcome !== 'queued')
      throw new Error(`not stored: ${outcome}`)
  }
}

/** What a hub hears. */
export interface Ears {
  readonly signals: readonly Signal[]
  /** The first signal for which `wanted` holds, whether it has come already or not. */
  hear(wanted: (signal: Signal) => boolean): Promise<Signal>
  /** All that `core` has published before now, to this hub or to all. */
  settled(core: Core): Promise<readonly Signal[]>
}

export async function listen(core: Core, hub: string, namespace = NS): Promise<Ears> {
  const signals: Signal[] = []
  const waiting = new Set<() => void>()
  const subscription = await core.bus.subscribe(
    namespace,
    hub,
    (signal) => {
      signals.push(signal)
      for (const look of waiting) look()
    },
    () => undefined,
  )
  onTestFinished(() => subscription.close())
  const hear = (wanted: (signal: Signal) => boolean): Promise<Signal> =>
    new Promise((resolve) => {
      const look = (): void => {
        const found = signals.find(wanted)
        if (found === undefined) return
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
    })
  let marks = 0
  return {
    signals,
    hear,
    async settled(publisher) {
      const probe = `mark ${(marks += 1)} of ${hub}`
      publisher.bus.publish(namespace, hub, { kind: 'probed', probe })
      await hear((signal) => signal.kind === 'probed' && signal.probe === probe)
      return signals.filter((signal) => signal.kind !== 'probed')
    },
  }
}
