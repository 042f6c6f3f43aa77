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

  constructor(root: string) {
    this.root = root
  }

  /** hash: revision, leader, term */
  get meta(): string {
    return `${this.root}meta`
  }
  /** hash: agent → registration (JSON) */
  get agents(): string {
    return `${this.root}agents`
  }
  /** hash: agent → status, connected, hub, registeredAt, revision (JSON) */
  get state(): string {
    return `${this.root}state`
  }
  /** hash: agent → `<fence> <hub, or - while not connected> <session hash>` */
  get sessions(): string {
    return `${this.root}sessions`
  }
  /** hash: name → agent */
  get names(): string {
    return `${this.root}names`
  }
  /** zset: eligible online agent → registeredAt */
  get electable(): string {
    return `${this.root}electable`
  }
  /** zset: agent → when its state must change next (ms) */
  get deadlines(): string {
    return `${this.root}deadlines`
  }
  /** zset by lex: `c<length>:<capability>:<agent>` and `g…` for groups */
  get members(): string {
    return `${this.root}members`
  }
  /** stream: `<revision>-0` → event text */
  get events(): string {
    return `${this.root}events`
  }
  /** stream: dead letters */
  get dead(): string {
    return `${this.root}dead`
  }
  /** zset: `<i or r><number>:<agent>` → when the entry's time to live ends (ms) */
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

  /** stream: unacknowledged entries, `0-<number>` → t text, x expiresAt */
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

  /** channel: signals for one hub */
  hubChannel(hub: string): string {
    return `${this.root}hub:${hub}`
  }
  /** channel: signals for every hub of the namespace */
  get feedChannel(): string {
    return `${this.root}feed`
  }

  /** KEYS[1..14] of the registry scripts (lua/_registry.lua). */
  registry(): string[] {
    return [
      this.meta,
      this.agents,
      this.state,
      this.sessions,
      this.names,
      this.electable,
      this.deadlines,
      this.members,
      this.events,
      this.dead,
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
    ]
  }
}
