import type { Signal } from '../../src/core/bus.ts'
import type { Core } from '../../src/server.ts'

/** A core whose hub hears no events until `listen`: it only knows what it asks the store for. */
export class Deafness {
  #deaf = true

  wrap = (core: Core): Core => ({
    ...core,
    bus: {
      lossy: core.bus.lossy,
      publish: core.bus.publish.bind(core.bus),
      subscribe: (namespace, hub, onSignal, onGap) =>
        core.bus.subscribe(
          namespace,
          hub,
          (signal: Signal) => {
            if (!this.#deaf || signal.kind !== 'event') onSignal(signal)
          },
          onGap,
        ),
    },
  })

  listen(): void {
    this.#deaf = false
  }
}
