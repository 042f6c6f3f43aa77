/** A hub that lives. */
export interface LiveHub {
  readonly hub: string
  /** Milliseconds until its lease runs out, unless it is renewed. */
  readonly leaseMs: number
  /** As it told when it renewed its lease last. */
  readonly namespaces: readonly string[]
}

/** Which hubs live, and in which namespaces they have agents. */
export interface Leases {
  /** Extends the lease of `hub` by `hubLeaseMs`. `lapsed`: there was none, or it had run out; after the first time that means that
   * others may have acted on it. */
  renew(hub: string, namespaces: readonly string[]): Promise<{ readonly lapsed: boolean }>
  /** Hubs whose lease has not run out, in no order. */
  live(): Promise<readonly LiveHub[]>
  /** Hubs whose lease has run out, at most 100, with the namespaces they were in. They stay listed until buried. */
  expired(): Promise<readonly { readonly hub: string; readonly namespaces: readonly string[] }[]>
  /** Whether the lease of `hub` has run out and is still there to be buried: asked again on the way, since the hub may come back. */
  isExpired(hub: string): Promise<boolean>
  /** The agents of a dead hub have been dealt with: its lease is removed, unless the hub has renewed it. Repeating it is safe. */
  bury(hub: string): Promise<void>
  /** The hub has gone in order: ends its own lease. */
  forget(hub: string): Promise<void>
}
