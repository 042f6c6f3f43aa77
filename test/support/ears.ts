import type { Signal } from '../../src/core/bus.ts'
import type { Core } from '../../src/server.ts'

/** What a hub does with a signal; a gap tells it that it may have missed some. */
export type Hear = (signal: Signal, onSignal: (signal: Signal) => void, onGap: () => void) => void

/** A core whose hub hears what `hear` passes on of each signal; `lossy`: whether it has to reckon with losses. */
export const withEars = (core: Core, hear: Hear, lossy = core.bus.lossy): Core => ({
  ...core,
  bus: {
    lossy,
    publish: core.bus.publish.bind(core.bus),
    subscribe: (namespace, hub, onSignal, onGap) =>
      core.bus.subscribe(namespace, hub, (signal) => hear(signal, onSignal, onGap), onGap),
  },
})
