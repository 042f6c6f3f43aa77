import type { WebSocket } from 'ws'
import { parseSettings } from '../../src/parse-settings.ts'
import type { Core } from '../../src/core/core.ts'
import { createMemoryCore } from '../../src/core/memory/core.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { type AgentPort, SimAgent } from './agent.ts'
import type { VirtualClock } from './clock.ts'
import { History } from './history.ts'
import { Random } from './random.ts'
import { type Listener, SimSocket } from './socket.ts'
import { SimStore } from './store.ts'

const CAPABILITIES = ['nlp', 'ocr', 'asr']

interface LivingHub {
  readonly hub: Hub
  readonly store: SimStore
  readonly sockets: Set<SimSocket>
}

export interface WorldOptions {
  readonly clock: VirtualClock
  readonly seed: number
  /** Virtual milliseconds of trouble, and at most of rest after it. */
  readonly troubleMs: number
  readonly restMs: number
  /** What the hubs get instead of the core: one with a defect. */
  readonly wrap?: (core: Core) => Core
}

/** A mesh of hubs and agents under a virtual clock; what happens in it follows from the seed. */
export class World {
  readonly history: History
  readonly agents: SimAgent[] = []
  readonly core: Core
  readonly #options: WorldOptions
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #hubs: LivingHub[] = []
  readonly #settings
  #number = 0

  constructor(options: WorldOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#random = new Random(options.seed * 2 + 1)
    this.history = new History(() => this.#clock.now)
    this.#settings = parseSettings({
      graceMs: 1_000,
      hubLeaseMs: 1_500,
      hubGraceMs: 1_500,
      ackTimeoutMs: 2_000,
      heartbeatIntervalMs: 2_000,
      heartbeatTimeoutMs: 1_000,
      maxAttempts: this.#random.pick([0, 0, 3]),
      ratePerSecond: 0,
    })
    const core = createMemoryCore({ limits: this.#settings })
    this.core = options.wrap ? options.wrap(core) : core
  }

  /** Trouble, then rest until nothing is left to do. Answers whether nothing was left. */
  async run(): Promise<boolean> {
    const { troubleMs, restMs } = this.#options
    for (let i = 0; i <= this.#random.below(3); i++) await this.#startHub()
    this.#makeAgents()
    this.#trouble(troubleMs)
    await this.#clock.run(troubleMs)
    if (this.#hubs.length === 0) await this.#startHub()
    for (const agent of this.agents) agent.calm()
    let isDone = false
    for (let at = this.#clock.now; !isDone && at < troubleMs + restMs; at += 250) {
      await this.#clock.run(at + 250)
      isDone = this.agents.every(({ unsettled }) => unsettled.length === 0) && (await this.#isEmpty())
    }
    return isDone
  }

  async #startHub(): Promise<void> {
    const store = new SimStore(this.core, this.#clock, this.#random)
    const hub = new Hub({ core: store.core, settings: this.#settings, log: createLog('silent') })
    let isUp = false
    void hub.start().then(() => (isUp = true))
    await this.#clock.run(this.#clock.now + 1_000, () => isUp)
    this.history.add(hub.id, 'hub starts')
    this.#hubs.push({ hub, store, sockets: new Set() })
  }

  #killHub(): void {
    const [killed] = this.#hubs.splice(this.#random.below(this.#hubs.length), 1)
    if (!killed) return
    this.history.add(killed.hub.id, 'hub dies')
    killed.store.die()
    for (const socket of killed.sockets) socket.hubGone(this.#random.chance(0.8))
  }

  #connect(listener: Listener): SimSocket | null {
    if (this.#hubs.length === 0) return null
    const { hub, sockets } = this.#random.pick(this.#hubs)
    const socket = new SimSocket(this.#clock, this.#random, listener)
    sockets.add(socket)
    hub.accept(socket as unknown as WebSocket)
    return socket
  }

  #makeAgents(): void {
    const port: AgentPort = {
      random: this.#random,
      history: this.history,
      connect: (listener) => this.#connect(listener),
    }
    const count = 3 + this.#random.below(5)
    for (let i = 0; i < count; i++) {
      const capabilities = CAPABILITIES.filter(() => this.#random.chance(0.5))
      const agent = new SimAgent(port, {
        id: `a${i}`,
        capabilities: capabilities.length > 0 ? capabilities : ['idle'],
        concurrency: 1 + this.#random.below(3),
        window: this.#random.pick([1, 2, 5, 100]),
      })
      this.agents.push(agent)
      agent.connect()
    }
  }

  #trouble(ms: number): void {
    const random = this.#random
    for (let at = 100; at < ms; at += random.between(1, 60)) setTimeout(() => this.#act(), at)
    for (let at = 500; at < ms; at += random.between(100, 2_500)) setTimeout(() => this.#disturb(), at)
  }

  #act(): void {
    const random = this.#random
    const agent = random.pick(this.agents)
    const number = ++this.#number
    const kind = random.next()
    const receipt = random.chance(0.3) ? { receipt: true } : {}
    const ttl = random.chance(0.1) ? { ttlMs: 1 + random.below(1_500) } : {}
    if (kind < 0.45) agent.send(number, { agent: random.pick(this.agents).id }, { ...receipt, ...ttl })
    else if (kind < 0.8) agent.send(number, { capability: random.pick(CAPABILITIES) }, { ...receipt, ...ttl })
    else if (kind < 0.95) agent.send(number, { all: true }, ttl)
    else agent.send(number, { leader: true }, receipt)
  }

  #disturb(): void {
    const random = this.#random
    const kind = random.next()
    if (kind < 0.5) random.pick(this.agents).drop(random.chance(0.6))
    else if (kind < 0.65) random.pick(this.agents).rest()
    else if (kind < 0.85 && this.#hubs.length > 0) random.pick(this.#hubs).store.cut(random.between(1, 800))
    else if (kind < 0.93 && this.#hubs.length > 1) this.#killHub()
    else if (this.#hubs.length < 3) this.#startLater()
  }

  /** Without waiting for it: time is under way. */
  #startLater(): void {
    const store = new SimStore(this.core, this.#clock, this.#random)
    const hub = new Hub({ core: store.core, settings: this.#settings, log: createLog('silent') })
    void hub.start().then(() => {
      this.history.add(hub.id, 'hub starts')
      this.#hubs.push({ hub, store, sockets: new Set() })
    })
  }

  /** What is left in the store of what was sent. */
  async left(): Promise<string[]> {
    const found: string[] = []
    for (const { id } of this.agents) {
      for (const lane of ['inbox', 'replies'] as const) {
        const { entries } = await this.core.inboxes.read('default', id, lane, 0, 1_000)
        for (const { number, text } of entries) found.push(`${lane} ${number} of ${id}: ${text}`)
      }
      const { upTo, beyond } = await this.core.broadcasts.open('default', id)
      const { entries } = await this.core.broadcasts.read('default', upTo, 1_000)
      for (const { number, from, text } of entries)
        if (from !== id && !beyond.includes(number)) found.push(`broadcast ${number} to ${id}: ${text}`)
    }
    for (const capability of CAPABILITIES) {
      const size = await this.core.queues.size('default', capability)
      const { agents } = await this.core.registry.snapshot('default')
      const isServed = agents.some(({ registration }) => registration.capabilities.includes(capability))
      if (size > 0 && isServed) found.push(`${size} in the queue of ${capability}`)
    }
    return found
  }

  async #isEmpty(): Promise<boolean> {
    return (await this.left()).length === 0
  }
}
