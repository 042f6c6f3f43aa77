import type { Signal } from '../../src/core/bus.ts'
import type { StreamFrame } from '../../src/core/stream-frames.ts'
import type { Core } from '../../src/server.ts'

type Streams = Extract<Signal, { kind: 'streams' }>

/** Cores whose hubs lose what they tell each other of streams, as a bus may. */
export class LostStreams {
  /** Whether a frame is lost; by default none is. */
  loses: (frame: StreamFrame) => boolean = () => false
  /** Whether hubs say nothing to each other at all. */
  silent = false
  #waiters: { readonly op: StreamFrame['op']; readonly resolve: () => void }[] = []

  wrap = (core: Core): Core => ({
    ...core,
    bus: {
      lossy: core.bus.lossy,
      subscribe: core.bus.subscribe.bind(core.bus),
      publish: (namespace, hub, signal) => {
        const kept = signal.kind === 'streams' ? this.#keep(signal) : signal
        if (kept) core.bus.publish(namespace, hub, kept)
      },
    },
  })

  #keep(signal: Streams): Streams | null {
    for (const { op } of signal.frames) {
      for (const waiter of this.#waiters) if (waiter.op === op) waiter.resolve()
      this.#waiters = this.#waiters.filter((waiter) => waiter.op !== op)
    }
    return this.silent ? null : { ...signal, frames: signal.frames.filter((frame) => !this.loses(frame)) }
  }

  /** Resolves when the next frame of that kind is told, whether it is lost or not. */
  told(op: StreamFrame['op']): Promise<void> {
    return new Promise((resolve) => this.#waiters.push({ op, resolve }))
  }

  /** The next frame that matches is lost. */
  loseNext(match: (frame: StreamFrame) => boolean): void {
    let lost = false
    this.loses = (frame) => {
      if (lost || !match(frame)) return false
      lost = true
      return true
    }
  }
}
