/** A plain JSON object; what is in it is not the store's matter. */
export type OutboxValue = object

/**
 * What an outbox is kept in: a few numbered values, written together. One client at a time has it open.
 * `outboxOn(store)` makes an outbox of it.
 */
export interface OutboxStore {
  /** What errors call it, like `the outbox file /tmp/mesh.outbox`. */
  readonly name: string
  /**
   * Takes the store for this client alone and answers what is in it, in the order of the keys.
   * @throws MeshError `agent_taken` where another client has it, on this machine or page or another one
   */
  open(): Promise<Iterable<readonly [key: number, value: OutboxValue]>>
  /**
   * Puts values (over older ones of the same key) and removes keys, all or nothing; resolves when that will outlive this
   * client. Called again only when the call before is settled.
   */
  write(
    puts: readonly (readonly [key: number, value: OutboxValue])[],
    removes: readonly number[],
  ): Promise<void>
  /** Lets the next client have it. */
  close(): Promise<void>
}
