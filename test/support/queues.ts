import type { Signal } from '../../src/core/bus.ts'
import type { Queues } from '../../src/core/queues.ts'
import type { Core } from '../../src/server.ts'

/** The queues of `core` with some operations replaced. */
export function withQueues(core: Core, replaced: Partial<Queues>): Core {
  const { queues } = core
  return {
    ...core,
    queues: {
      claim: queues.claim.bind(queues),
      resume: queues.resume.bind(queues),
      held: queues.held.bind(queues),
      extend: queues.extend.bind(queues),
      settle: queues.settle.bind(queues),
      release: queues.release.bind(queues),
      tick: queues.tick.bind(queues),
      size: queues.size.bind(queues),
      backlog: queues.backlog.bind(queues),
      list: queues.list.bind(queues),
      ...replaced,
    },
  }
}

/** Answers of a store that are kept back: what was asked for is done, and who asked does not know yet. */
export class Gate {
  #closed = false
  #waiting: (() => void)[] = []
  #onWait: (() => void)[] = []

  /** From now on answers wait. */
  close(): void {
    this.#closed = true
  }

  /** Every answer goes on, those to come too. */
  open(): void {
    this.#closed = false
    for (const go of this.#waiting.splice(0)) go()
  }

  get isFull(): boolean {
    return this.#waiting.length > 0
  }

  /** Resolves when an answer waits. */
  async full(): Promise<void> {
    if (this.#waiting.length > 0) return
    await new Promise<void>((resolve) => {
      this.#onWait.push(resolve)
    })
  }

  async pass<Answer>(answer: Promise<Answer>): Promise<Answer> {
    const value = await answer
    if (!this.#closed) return value
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve)
      for (const tell of this.#onWait.splice(0)) tell()
    })
    return value
  }
}

/** A bus that can be said to have lost signals. */
export class Gaps {
  #onGap: (() => void)[] = []

  wrap(core: Core, hears: (signal: Signal) => boolean = () => true): Core {
    return {
      ...core,
      bus: {
        lossy: true,
        publish: core.bus.publish.bind(core.bus),
        subscribe: (namespace, hub, onSignal, onGap) => {
          this.#onGap.push(onGap)
          const listen = (signal: Signal): void => {
            if (hears(signal)) onSignal(signal)
          }
          return core.bus.subscribe(namespace, hub, listen, onGap)
        },
      },
    }
  }

  /** Every hub on it is told that it may have missed something. */
  tell(): void {
    for (const onGap of this.#onGap) onGap()
  }
}
