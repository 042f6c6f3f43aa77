import { MeshError } from '../../protocol/errors.ts'
import type { Signal } from '../../src/core/bus.ts'
import type { Core } from '../../src/core/core.ts'
import type { VirtualClock } from './clock.ts'
import type { Random } from './random.ts'

type Operation = (...args: unknown[]) => Promise<unknown>

interface Waiting {
  readonly reject: (error: Error) => void
  done: boolean
}

const gone = (): MeshError =>
  new MeshError('store_unavailable', 'the store does not answer', { retryAfterMs: 50 })

/**
 * A store as one hub sees it over a network: operations take effect in the order they were made, a random time later, and
 * are answered later still; while the line is cut none is, and what was under way may have taken effect or not.
 */
export class SimStore {
  readonly core: Core
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #waiting = new Set<Waiting>()
  readonly #gaps = new Set<() => void>()
  #isUp = true
  #isDead = false
  #line = 0
  #effectAt = 0
  #answerAt = 0
  #signalAt = 0

  constructor(core: Core, clock: VirtualClock, random: Random) {
    this.#clock = clock
    this.#random = random
    this.core = {
      kind: 'redis',
      registry: this.#wrap(core.registry),
      sends: this.#wrap(core.sends),
      inboxes: this.#wrap(core.inboxes),
      broadcasts: this.#wrap(core.broadcasts),
      queues: this.#wrap(core.queues),
      deadLetters: this.#wrap(core.deadLetters),
      leases: this.#wrap(core.leases),
      bus: {
        lossy: true,
        publish: (namespace, hub, signal) => {
          if (this.#isUp && !this.#isDead) core.bus.publish(namespace, hub, signal)
        },
        subscribe: async (namespace, hub, onSignal, onGap) => {
          this.#gaps.add(onGap)
          const subscription = await core.bus.subscribe(
            namespace,
            hub,
            (signal) => this.#signal(signal, onSignal),
            onGap,
          )
          return {
            close: async () => {
              this.#gaps.delete(onGap)
              await subscription.close()
            },
          }
        },
      },
      problems: async () => [],
      close: async () => undefined,
    }
  }

  #wrap<Port extends object>(port: Port): Port {
    return new Proxy(port, {
      get: (target, name) => {
        const method = Reflect.get(target, name) as unknown
        if (typeof method !== 'function') return method
        return (...args: unknown[]) =>
          this.#call((...given) => (method as Operation).apply(target, given), args)
      },
    })
  }

  #call(operation: Operation, args: readonly unknown[]): Promise<unknown> {
    // The process that waits is gone.
    if (this.#isDead) return new Promise(() => undefined)
    if (!this.#isUp) return Promise.reject(gone())
    const now = this.#clock.now
    const line = this.#line
    this.#effectAt = Math.max(this.#effectAt, now + this.#random.between(0.1, 3))
    this.#answerAt = Math.max(this.#answerAt, this.#effectAt + this.#random.between(0.1, 3))
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { reject, done: false }
      this.#waiting.add(waiting)
      let effect: Promise<unknown> | null = null
      setTimeout(() => {
        // What was written before the line was cut may have come through.
        if (line !== this.#line && this.#random.chance(0.5)) return
        effect = operation(...args)
        effect.catch(() => undefined)
      }, this.#effectAt - now)
      setTimeout(() => {
        if (waiting.done || this.#isDead) return
        this.#waiting.delete(waiting)
        waiting.done = true
        if (effect) effect.then(resolve, reject)
        else reject(gone())
      }, this.#answerAt - now)
    })
  }

  #signal(signal: Signal, onSignal: (signal: Signal) => void): void {
    if (!this.#isUp || this.#isDead) return
    const line = this.#line
    this.#signalAt = Math.max(this.#signalAt, this.#clock.now + this.#random.between(0.1, 5))
    setTimeout(() => {
      if (line === this.#line && !this.#isDead) onSignal(signal)
    }, this.#signalAt - this.#clock.now)
  }

  /** The line to the store is cut for `ms`: answers and signals under way are lost. */
  cut(ms: number): void {
    if (!this.#isUp || this.#isDead) return
    this.#isUp = false
    this.#line++
    for (const waiting of this.#waiting) {
      waiting.done = true
      waiting.reject(gone())
    }
    this.#waiting.clear()
    setTimeout(() => {
      this.#isUp = true
      if (!this.#isDead) for (const onGap of this.#gaps) onGap()
    }, ms)
  }

  /** The hub's process is gone. */
  die(): void {
    this.#isDead = true
    this.#waiting.clear()
  }
}
