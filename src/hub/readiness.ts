import type { Core } from '../core/core.ts'

/** How long the store may take to answer before it counts as away; whoever asks has little patience. */
const PATIENCE_MS = 2_000
/** How long an answer holds: several may ask at once. */
const FRESH_MS = 250

/** Whether the store would take a message and bring it to other hubs, asked no more often than is of use. */
export class Readiness {
  readonly #core: Core
  #asked: Promise<readonly string[]> | null = null

  constructor(core: Core) {
    this.#core = core
  }

  /** Never rejects. */
  problems(): Promise<readonly string[]> {
    if (this.#asked) return this.#asked
    const asked = this.#ask()
    this.#asked = asked
    void asked.then(() => setTimeout(() => (this.#asked = null), FRESH_MS).unref())
    return asked
  }

  async #ask(): Promise<readonly string[]> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<readonly string[]>((resolve) => {
      timer = setTimeout(resolve, PATIENCE_MS, [`the store has not answered for ${PATIENCE_MS} ms`])
    })
    const found = this.#core.problems().catch((error: unknown) => [String(error)])
    return Promise.race([found, late]).finally(() => clearTimeout(timer))
  }
}
