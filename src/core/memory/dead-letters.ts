import type { DeadLetter, DeadLetters } from '../dead-letters.ts'
import type { Namespaces } from './namespace.ts'

export class MemoryDeadLetters implements DeadLetters {
  readonly #namespaces: Namespaces

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces
  }

  async list(name: string, position: string | null, limit: number): Promise<readonly DeadLetter[]> {
    return this.#namespaces.find(name)?.dead.after(Number(position ?? 0), limit) ?? []
  }
}
