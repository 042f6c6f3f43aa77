/** What was pushed to an MXP agent and it has not settled yet: its message ids → ids of the mesh. */
export class Held {
  readonly #ids = new Map<bigint, string[]>()

  add(messageId: bigint, id: string): void {
    const ids = this.#ids.get(messageId)
    // Two responses to one Call have one message id: who acknowledges one wants neither.
    if (!ids) this.#ids.set(messageId, [id])
    else if (!ids.includes(id)) ids.push(id)
  }

  get(messageId: bigint): readonly string[] {
    return this.#ids.get(messageId) ?? []
  }

  take(messageId: bigint): readonly string[] {
    const ids = this.get(messageId)
    this.#ids.delete(messageId)
    return ids
  }
}
