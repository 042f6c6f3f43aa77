import { Namespace, type MemorySettings } from './namespace.ts'

/** The namespaces that somebody is in, or was and left something. */
export class Namespaces {
  readonly settings: MemorySettings
  readonly #byName = new Map<string, Namespace>()

  constructor(settings: MemorySettings) {
    this.settings = settings
  }

  find(name: string): Namespace | undefined {
    return this.#byName.get(name)
  }

  /** Made where it was not there yet. */
  open(name: string): Namespace {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const namespace = new Namespace(name, this.settings)
    this.#byName.set(name, namespace)
    return namespace
  }

  /**
   * Forgets a namespace that no hub listens to any more, unless somebody is registered, work waits or something is kept for people to
   * look at: whoever may name namespaces must not fill the memory with them. Begun anew its revisions are greater, since
   * they start at the clock.
   */
  release(name: string): void {
    const namespace = this.#byName.get(name)
    if (namespace?.isUnused === true) this.#byName.delete(name)
  }
}
