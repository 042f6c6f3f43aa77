/** How many bytes of text the inboxes of a namespace hold; 0 where there is no limit and nobody counts. */
export class InboxBytes {
  readonly #max: number
  #held = 0

  /** @param max bytes; 0: no limit */
  constructor(max: number) {
    this.#max = max
  }

  /** What a text counts. */
  of(text: string): number {
    return this.#max === 0 ? 0 : Buffer.byteLength(text)
  }

  hasRoomFor(text: string): boolean {
    return this.#max === 0 || this.#held + Buffer.byteLength(text) <= this.#max
  }

  /** More is held, or (below 0) less. */
  add(bytes: number): void {
    this.#held += bytes
  }
}
