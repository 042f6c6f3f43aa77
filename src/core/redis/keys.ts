import type { Lane } from '../inboxes.ts'

/**
 * Every key name. All keys of a namespace carry the hash tag `{namespace}`, so that they lie in one slot and a script may
 * touch any of them.
 */
export class Keys {
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  /** The keys for one call. */
  of(namespace: string): NamespaceKeys {
    return new NamespaceKeys(`${this.#prefix}:{${namespace}}:`)
  }

  /** zset: hub → deadline of its lease (ms). */
  get hubs(): string {
    return `${this.#prefix}:{hubs}`
  }

  /** set: the namespaces a hub is in. */
  hubNamespaces(hub: string): string {
    return `${this.#prefix}:{hubs}:${hub}`
  }
}

export class NamespaceKeys {
  /** What every key and channel of the namespace starts with. */
  readonly root: string
  /** The epoch that the call these keys were made for belongs to; null: it has not asked the store yet. */
  epoch: string | null = null

  constructor(root: string) {
    this.root = root
  }

  /** hash: epoch, server, revision, leader, term; `quiet`, until when nobody is elected (ms); `order`, the last place given in work queues; `deadRemoved`, dead letters redriven or purged; `inboxBytes`, of texts in inboxes, as lua/_inbox.lua counts them */
  get meta(): string {
    return `${this.root}meta`
  }
  /** hash: agent → registration (JSON) */
  get agents(): string {
    return `${this.root}agents`
  }
  /** hash: agent → status, connected, hub, door, registeredAt, since (registeredAt in μs), eligible, ephemeral, revision, owner (JSON) */
  get state(): string {
    return `${this.root}state`
  }
  /** hash: agent → `<fence> <hub, or - while not connected> <session hash>`; of one that lives by heartbeats `<fence> - @<door>:<latest heartbeat, ms>`, with `:<owner>` where it has one */
  get sessions(): string {
    return `${this.root}sessions`
  }
  /** hash: name → agent */
  get names(): string {
    return `${this.root}names`
  }
  /** zset: eligible online agent → when it was first registered (μs) */
  get electable(): string {
    return `${this.root}electable`
  }
  /** zset: agent → when its state must change next (ms) */
  get deadlines(): string {
    return `${this.root}deadlines`
  }
  /**
   * zset by lex: `c<length>:<capability>:<agent>` and `g…` for groups; `h…` capabilities of agents that live by heartbeats, `b1:+:<agent>` those
   * themselves, `b1:-:<agent>` while they are offline
   */
  get members(): string {
    return `${this.root}members`
  }
  /** stream: `<revision>-0` → event text */
  get events(): string {
    return `${this.root}events`
  }
  /** stream: dead letters: a agent or '', r reason, n attempts, at ms, t text, c capability or '' */
  get dead(): string {
    return `${this.root}dead`
  }
  /** zset: `<i or r><number>:<agent>` → when the entry's time to live ends (ms); `i0:<agent>`: the inbox is over its bound */
  get expiries(): string {
    return `${this.root}expiries`
  }
  /** stream: the broadcast log, `0-<number>` */
  get broadcasts(): string {
    return `${this.root}broadcasts`
  }
  /** hash: agent → settled up to this number of the log */
  get cursors(): string {
    return `${this.root}cursors`
  }
  /** hash: agent → how far its sessions pushed, `<inbox>;<replies>;<broadcasts>` */
  get marks(): string {
    return `${this.root}marks`
  }

  /** hash: message of a work queue → frame text */
  get tasks(): string {
    return `${this.root}tasks`
  }
  /**
   * hash: message of a work queue → JSON: capability, order (its place), at (when it was stored, ms), expires (ms), from (the sender, where it has
   * a receipt), told (the sender knows that it is in progress), quiet (it is told of a failure only), failures, claims, pushes, holder, resumed (fence of the session that resumed it last),
   * lost_by (the agent that lost it last), due (ms, while it is delayed)
   */
  get states(): string {
    return `${this.root}states`
  }
  /**
   * zset by lex: messages that nobody holds, `w<length>:<capability>:<length>:<who lost it last>:<order>:<id>`, and, delayed,
   * `d<length>:<capability>:<order>:<id>`; order in 16 digits
   */
  get waiting(): string {
    return `${this.root}waiting`
  }
  /** zset by lex: `<length>:<holder>:<message>` */
  get held(): string {
    return `${this.root}held`
  }
  /** hash: capability → entries of its queue; none is 0 */
  get sizes(): string {
    return `${this.root}sizes`
  }
  /**
   * zset: what time does to work queues → when (ms): `d<message>` its delay is over, `w<message>` its time to live is, `c<message>` its claim is;
   * `o<capability>` what waits there may have been out of reach for the retention period
   */
  get agenda(): string {
    return `${this.root}agenda`
  }
  /** hash: capability of a queue with entries → since when no registered agent has it (ms) */
  get orphaned(): string {
    return `${this.root}orphaned`
  }

  /** stream: unacknowledged entries, `0-<number>` → t text (b: it is counted, see lua/_inbox.lua), x expiresAt */
  lane(agentId: string, lane: Lane): string {
    return `${this.root}${lane}:${agentId}`
  }
  /** set: numbers of the log settled beyond the cursor */
  settled(agentId: string): string {
    return `${this.root}settled:${agentId}`
  }
  /** hash: list of producers; per producer `#last`, `#base` and 1,024 answer slots */
  producers(agentId: string): string {
    return `${this.root}producers:${agentId}`
  }
  /** hash: `<i or r><number>` → `<rejections> <due, ms>` */
  rejections(agentId: string): string {
    return `${this.root}rejections:${agentId}`
  }

  /** hash: `<i or r><number>` of an entry with a receipt → `<-, p: told in_progress, f: failures only><message> <sender>` */
  receipts(agentId: string): string {
    return `${this.root}receipts:${agentId}`
  }

  /** channel: signals for one hub */
  hubChannel(hub: string): string {
    return `${this.root}hub:${hub}`
  }
  /** channel: signals for every hub of the namespace */
  get feedChannel(): string {
    return `${this.root}feed`
  }

  /** What a script needs to store something in a work queue, in the order of lua/_enqueue.lua. */
  queue(): string[] {
    return [this.tasks, this.states, this.waiting, this.sizes, this.agenda, this.orphaned]
  }

  /** KEYS[1..10] of the scripts of work queues (lua/_tasks.lua). */
  work(): string[] {
    return [this.sessions, this.members, this.dead, this.held, ...this.queue()]
  }

  /** KEYS[1..21] of the registry scripts (lua/_registry.lua). */
  registry(): string[] {
    return [
      ...this.work(),
      this.meta,
      this.agents,
      this.state,
      this.names,
      this.electable,
      this.deadlines,
      this.events,
      this.expiries,
      this.broadcasts,
      this.cursors,
      this.marks,
    ]
  }

  /** An agent's own keys, in the order of lua/_registry.lua. */
  own(agentId: string): string[] {
    return [
      this.lane(agentId, 'inbox'),
      this.lane(agentId, 'replies'),
      this.settled(agentId),
      this.producers(agentId),
      this.rejections(agentId),
      this.receipts(agentId),
    ]
  }
}
