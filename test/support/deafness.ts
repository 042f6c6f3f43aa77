import type { Core } from '../../src/server.ts'
import { withEars } from './ears.ts'

/** A core whose hub hears no events until `listen`: it only knows what it asks the store for. */
export class Deafness {
  #deaf = true

  wrap = (core: Core): Core =>
    withEars(core, (signal, onSignal) => {
      if (!this.#deaf || signal.kind !== 'event') onSignal(signal)
    })

  listen(): void {
    this.#deaf = false
  }
}
