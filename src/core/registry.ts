import type { AgentStatus, Registration, Transport } from '../../protocol/agent.ts'

/** Where agents come in that hold no connection: heartbeats are all there is to hear of them. */
export type Door = Exclude<Transport, 'websocket'>

/** What the store decides of an agent, besides its registration. */
export interface AgentState {
  readonly status: AgentStatus
  readonly statusReason: string | null
  /** Never of an agent that lives by heartbeats. */
  readonly connected: boolean
  /** Of an agent that lives by heartbeats (see `Registry.enrol`), the door they come in by; else absent. */
  readonly door?: Door
  /** Whose it is (see `RegisterRequest.owner`); absent: nobody's. */
  readonly owner?: string
  /** The hub that has its connection, or had the last one. */
  readonly hub: string | null
  /** Milliseconds since 1970; kept when the id registers again. */
  readonly registeredAt: number
  /** Tells who came first of those with one `registeredAt`: who has the lower number. It means nothing else. */
  readonly order: number
  /** Of its latest change. */
  readonly revision: number
}

export interface AgentRecord {
  readonly id: string
  readonly registration: Registration
  readonly state: AgentState
}

export type StoredEventKind =
  | 'agent.registered'
  | 'agent.updated'
  | 'agent.status_changed'
  | 'agent.unregistered'
  | 'leader.changed'

/**
 * One change of a namespace's registry. Revisions count by one, without gaps; the first one of a new namespace is the
 * store's clock in milliseconds × 1,000, so that revisions grow over a loss of the store.
 */
export interface RegistryEvent {
  readonly revision: number
  readonly event: StoredEventKind
  /** Milliseconds since 1970, the store's clock. */
  readonly at: number
  /** The agent changed; of `leader.changed` the new leader, or null. */
  readonly agentId: string | null
  /** The agent after the change (`agent.unregistered`: before it); null in `leader.changed`. */
  readonly agent: AgentRecord | null
  /** Status before (`agent.status_changed`) or former leader (`leader.changed`). */
  readonly old: string | null
  /** Status after (`agent.status_changed`). */
  readonly new: string | null
  /** Leader and term in force after this event. */
  readonly leader: string | null
  readonly term: number
}

/** How far earlier sessions pushed a lane, opaque to the registry; see attempts.ts. */
export interface PushMarks {
  readonly inbox: string
  readonly replies: string
  readonly broadcasts: string
}

export interface RegisterRequest {
  readonly agentId: string
  readonly registration: Registration
  readonly hub: string
  /** Hash of the session string that this registration will be known by. */
  readonly sessionHash: string
  /** Hash of the session string that the newcomer presented, if any. */
  readonly proofHash: string | null
  /** The newcomer is proved by other means (a token's subject). */
  readonly proved: boolean
  /**
   * Whose the agent is: the subject of a token. An agent keeps its first owner while it is registered, and with it its name; only where the id is not
   * that one's own (`isOwnId`), it goes to whose own it is. Null or absent (authentication is off): nobody's, and nobody's ownership is looked at.
   */
  readonly owner?: string | null
  /** The fence of a holder that a probe found silent: that one may be displaced without proof. */
  readonly silentFence: number | null
  /** When the agent was first registered, as a hub knew it before the store lost it (milliseconds since 1970): what a new id begins with. */
  readonly registeredAt?: number | null
  /** The client instance's id for `seq`; at most 8 of an agent are remembered, the one not heard of for longest goes. */
  readonly producer: string | null
}

export type RegisterResult =
  | {
      readonly outcome: 'registered'
      /** Fence of the new session: the revision of the last event of its own agent. */
      readonly fence: number
      /** In revision order; the last one's revision is that of the namespace. */
      readonly events: readonly RegistryEvent[]
      /** The agent was registered before. */
      readonly resumed: boolean
      /** The live session that lost the agent to this one; its hub has been told by a `displaced` signal. */
      readonly displaced: { readonly hub: string; readonly fence: number } | null
      /**
       * Prefix of the ids of messages that this producer sends with `seq`; the same for a producer on every hub: the fence of the
       * registration that it was first heard of by, in base 36. `""` without a producer.
       */
      readonly producerBase: string
      /** Entries in both lanes. */
      readonly pending: number
      /** Work-queue messages that the agent holds from a session before: see `Queues.resume`. */
      readonly holding: number
      /** Of earlier sessions; of a session that did not end by `leave`, all that was in its lanes counts as pushed. */
      readonly marks: PushMarks
    }
  /** A live session has the id and the newcomer has no proof; `hub` null: an agent that lives by heartbeats, and is not offline. */
  | { readonly outcome: 'held'; readonly hub: string | null; readonly fence: number }
  /** `holder`, which is not offline or has another owner, has the name. */
  | { readonly outcome: 'name_taken'; readonly holder: string }
  /** The agent is registered, and stays another owner's. */
  | { readonly outcome: 'not_owner' }
  /** The namespace has `namespaceAgentsMax` agents, and this would be another one. */
  | { readonly outcome: 'full' }

export interface EnrolRequest {
  readonly agentId: string
  readonly registration: Registration
  readonly door: Door
  /** Milliseconds until its silence makes it offline. */
  readonly staleMs: number
  /** As in {@link RegisterRequest}. */
  readonly registeredAt?: number | null
  /** As in {@link RegisterRequest}. */
  readonly owner?: string | null
}

export type EnrolResult =
  | {
      readonly outcome: 'registered'
      readonly events: readonly RegistryEvent[]
      /** The agent was registered before. */
      readonly resumed: boolean
    }
  /** The id is not one of this door: nothing was changed. */
  | { readonly outcome: 'held' }
  /** `holder` has the name and is not offline, or not of this door, or has another owner. */
  | { readonly outcome: 'name_taken'; readonly holder: string }
  /** As in {@link RegisterResult}. */
  | { readonly outcome: 'full' }
  /** The agent is registered, and stays another owner's: nothing was changed. */
  | { readonly outcome: 'not_owner' }

export interface BeatRequest {
  readonly agentId: string
  readonly door: Door
  /** Milliseconds until its silence makes it offline. */
  readonly staleMs: number
  /** Absent or null leaves the status; offline becomes `online`. */
  readonly status?: 'online' | 'degraded' | null
  /** Null leaves the reason, `""` clears it. */
  readonly statusReason?: string | null
  /** Who has to be its owner; null or absent: ownership is not looked at. */
  readonly owner?: string | null
}

export type BeatResult =
  | {
      readonly outcome: 'alive'
      /** Milliseconds since 1970, the store's clock. */
      readonly at: number
      /** Who leads now. */
      readonly leader: string | null
      /** None: nothing changed but the time. */
      readonly events: readonly RegistryEvent[]
    }
  /** No agent of this door has the id. */
  | { readonly outcome: 'unknown' }
  /** One has, and it is another's, or nobody's: nothing was changed. */
  | { readonly outcome: 'not_owner' }

export interface UpdateRequest {
  readonly agentId: string
  readonly fence: number
  /** The whole new registration (its name unchanged), or null to leave it. */
  readonly registration: Registration | null
  /** Null leaves the status. */
  readonly status: 'online' | 'degraded' | null
  /** Null leaves the reason, `""` clears it. */
  readonly statusReason: string | null
}

/**
 * `lost`: disconnected now, offline after `graceMs` (an ephemeral agent: unregistered). `keep`: disconnected and offline now
 * (an ephemeral agent: unregistered). `unregister`: gone now, what is left in its inbox dead-lettered.
 */
export type Departure = 'lost' | 'keep' | 'unregister'

export interface LeaveRequest {
  readonly agentId: string
  /** Only this session leaves; null: whatever session there is (an operator). */
  readonly fence: number | null
  /** Only an agent leaves that lives by heartbeats of this door. */
  readonly door?: Door
  /** With a door: who has to be the agent's owner; null or absent: ownership is not looked at. */
  readonly owner?: string | null
  readonly departure: Departure
  readonly graceMs: number
  /** How far this session pushed, added to what `register` returned; null where it is not known. */
  readonly marks: PushMarks | null
}

export interface ReclaimRequest {
  readonly agentId: string
  readonly fence: number
  /** Where the session is. */
  readonly hub: string
}

/**
 * `fenced`: the session is over (another one has the agent, it is not registered any more, or, for `update`, it has left;
 * for `reclaim`, it is on another hub; for a `leave` of a door, no agent of that door has the id);
 * nothing was changed. A `leave` repeated by the same session is `changed` without events.
 */
export type ChangeResult =
  | { readonly outcome: 'changed'; readonly events: readonly RegistryEvent[] }
  | { readonly outcome: 'fenced' }

/** `not_owner`: an agent of the door has the id, and it is another's, or nobody's; nothing was changed. */
export type LeaveResult = ChangeResult | { readonly outcome: 'not_owner' }

export interface RegistrySnapshot {
  /**
   * Names the time in which the store has lost nothing. Where it is another one than before, the store may be older than what was seen of it: all that was
   * learned in the epoch before (revisions, numbers of entries, cursors, fences) is void.
   */
  readonly epoch: string
  readonly revision: number
  readonly agents: readonly AgentRecord[]
  readonly leader: string | null
  readonly term: number
  /** Agents that live by heartbeats → the latest one (milliseconds since 1970). */
  readonly beats: ReadonlyMap<string, number>
}

export interface EventsSince {
  /** In revision order, starting with `revision + 1`. */
  readonly events: readonly RegistryEvent[]
  /** False where the events after `revision` are not kept any more, `revision` lies in the future, or the epoch has ended: list anew. */
  readonly complete: boolean
}

/**
 * Who is in a namespace, and who leads it. Each change writes its events, elects a leader where one is needed, and tells
 * every hub of the namespace by `event` signals, in one step.
 *
 * Leader: an eligible agent that is not offline. When there is none, or the one there was is gone, offline or not eligible
 * any more, the eligible agent with status `online` that has the smallest `registeredAt`, and of those the one with the smallest `order`, is elected,
 * with a term that is the revision of its `leader.changed`. Where a store has lost its leader with everything else, hubs and agents have 2 s
 * to come back before there is an election. Where nobody qualifies the leader becomes null (the term stays).
 */
export interface Registry {
  /**
   * Registers, or takes an agent over: the agent is connected on `hub` and not offline any more (`degraded` stays), with a new fence.
   * Events: `agent.registered` for a new id; else `agent.updated`, then `agent.status_changed` if it was offline. Another
   * agent's name is given to the newcomer when that one is offline and has no other owner: it is unregistered first, by the same step. `not_owner` comes
   * before `held`, that before `name_taken`, and that before `full`.
   */
  register(namespace: string, request: RegisterRequest): Promise<RegisterResult>
  /**
   * Registers an agent that lives by heartbeats and holds no connection, or refreshes its registration, with the events of `register`. It has no
   * session, so it claims no work and reads no log: copies of broadcasts go to its inbox while it is not offline. When `staleMs` have gone by without
   * a sign of life `due` names it and `expire` makes it offline; for the retention period a heartbeat brings it back. An id that is registered
   * otherwise stays as it is (`held`), and so does whoever has the name and is not an offline agent of the same door and of no other owner. A later `register` may take an id
   * over that is offline. `not_owner` comes before `held`.
   */
  enrol(namespace: string, request: EnrolRequest): Promise<EnrolResult>
  /**
   * A sign of life: the agent's `staleMs` begin anew. Only what changes makes events: `agent.status_changed` (an offline one is back), or
   * `agent.updated` where a reason alone changed.
   */
  beat(namespace: string, request: BeatRequest): Promise<BeatResult>
  /** Events: `agent.updated` if `registration` is given or a reason alone changed, then `agent.status_changed` if the status did. */
  update(namespace: string, request: UpdateRequest): Promise<ChangeResult>
  /** Repeating it is safe. Events: `agent.updated` (not connected), `agent.status_changed`, `agent.unregistered`, as they apply. */
  leave(namespace: string, request: LeaveRequest): Promise<LeaveResult>
  /**
   * Makes a session live again that somebody declared lost (`leave` with `lost`) while its hub still has its connection: its hub gave no
   * sign of life for a while. Nothing changes where it is live on that hub. Events: `agent.updated`, then `agent.status_changed`
   * if the agent was offline. What it held of work queues it may have lost: see `Queues.held`. Repeating it is safe.
   */
  reclaim(namespace: string, request: ReclaimRequest): Promise<ChangeResult>
  /** Agents whose state must change by now (the grace or the retention period is over, or the time for a heartbeat), at most `limit`. */
  due(namespace: string, limit: number): Promise<readonly string[]>
  /**
   * Makes that change if it is due: `lost` or silent becomes offline or, when ephemeral, unregistered, and loses the work it holds; offline for the retention period
   * becomes unregistered, its inbox dead-lettered (`retention`). Any hub may do it; once is enough. An agent that goes offline, here or
   * by `leave`, has no reason for its status any more.
   */
  expire(namespace: string, agentId: string): Promise<readonly RegistryEvent[]>
  /**
   * The registry as of one revision. A namespace begins with its first snapshot: from then on its revisions count without gaps. Where an epoch
   * has ended, whoever is subscribed (`Bus`) is refused everything else with `store_unavailable` until it asks for this.
   */
  snapshot(namespace: string): Promise<RegistrySnapshot>
  /** Events after `revision`, at most `limit`. */
  since(namespace: string, revision: number, limit: number): Promise<EventsSince>
  /** Agents whose live session is on `hub`, with its fence. */
  sessionsOf(
    namespace: string,
    hub: string,
  ): Promise<readonly { readonly agentId: string; readonly fence: number }[]>
  /** Hub → how many agents have their live session there; hubs without any may be left out. */
  connectedByHub(namespace: string): Promise<ReadonlyMap<string, number>>
}
