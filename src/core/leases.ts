/** Which hubs live, and in which namespaces they have agents. */
export interface Leases {
  /** Extends the lease of `hub` by `hubLeaseMs`. `lapsed`: there was none, or it had run out; after the first time that means that
   * others may have acted on it. */
  renew(hub: string, namespaces: readonly string[]): Promise<{ readonly lapsed: boolean }>
  /** Hubs whose lease has run out, with the namespaces they were in. They stay listed until forgotten. */
  expired(): Promise<readonly { readonly hub: string; readonly namespaces: readonly string[] }[]>
  /** Ends a lease: the hub has gone in order, or its agents have been dealt with. */
  forget(hub: string): Promise<void>
}
