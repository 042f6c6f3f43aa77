import type { BroadcastEntry } from './broadcasts.ts'
import type { Lane } from './inboxes.ts'
import type { RegistryEvent } from './registry.ts'
import type { StreamFrame } from './stream-frames.ts'

/**
 * What hubs tell each other. May be lost, never the only copy: lanes, log and revisions are numbered, so a gap is seen and
 * read up.
 */
export type Signal =
  // To the hub of one agent.
  /** `text` is null where it is too long for a signal: read it. */
  | {
      readonly kind: 'entry'
      readonly agentId: string
      readonly lane: Lane
      readonly number: number
      readonly text: string | null
      readonly expiresAt: number | null
    }
  /** The agent lost a work-queue message that its session may have been pushed. */
  | {
      readonly kind: 'revoked'
      readonly agentId: string
      readonly id: string
      readonly claim: number
      readonly reason: string
    }
  /** Session `fence` of the agent lost it to another one. */
  | { readonly kind: 'displaced'; readonly agentId: string; readonly fence: number }
  /** Is that session alive? Answer by `probed` to `replyTo`. */
  | {
      readonly kind: 'probe'
      readonly agentId: string
      readonly fence: number
      readonly probe: string
      readonly replyTo: string
    }
  | { readonly kind: 'probed'; readonly probe: string }
  /** A transient message for agents on that hub. */
  | { readonly kind: 'transient'; readonly agentIds: readonly string[]; readonly text: string }
  /**
   * Of streams between that hub and `from`; no frames: `from` lives. `ask`: tell the same way what you know of the streams
   * between the two.
   */
  | {
      readonly kind: 'streams'
      readonly from: string
      readonly ask: boolean
      readonly frames: readonly StreamFrame[]
    }
  // To every hub of the namespace (the feed).
  /** `entry` is null where it is too long for a signal: read it. */
  | { readonly kind: 'broadcast'; readonly number: number; readonly entry: BroadcastEntry | null }
  | { readonly kind: 'event'; readonly event: RegistryEvent }
  /** Work has begun to wait in these queues. */
  | { readonly kind: 'queued'; readonly capabilities: readonly string[] }
  | {
      readonly kind: 'dead'
      readonly messageId: string | null
      /** Whom it was for, or who had it last; null of work that nobody had. */
      readonly agentId: string | null
      /** Of work: its queue. */
      readonly capability: string | null
      readonly reason: string
      readonly at: number
    }
  /** Somebody watches `agent.heartbeat` in this namespace: tell heartbeats on the feed for the next 30 s. */
  | { readonly kind: 'heartbeats_wanted' }
  | {
      readonly kind: 'heartbeat'
      readonly agentId: string
      readonly metrics: Readonly<Record<string, number>>
      /** Milliseconds since 1970. */
      readonly at: number
      /** The hub that tells it, and knows. */
      readonly from: string
    }

export interface Subscription {
  /** Ends it; no signal arrives afterwards. */
  close(): Promise<void>
}

export interface Bus {
  /** Whether signals may be lost at all: then the store has to be asked from time to time. */
  readonly lossy: boolean
  /**
   * Signals for `hub` in a namespace, and the namespace's feed, in the order of each sender. Resolves when what is sent from now on arrives.
   * `onGap` is called when signals may have been lost (the subscriber had to connect again): ask the store.
   */
  subscribe(
    namespace: string,
    hub: string,
    onSignal: (signal: Signal) => void,
    onGap: () => void,
  ): Promise<Subscription>
  /** To one hub, or with null to every hub of the namespace, this one included. Best effort: a failure is a lost signal. */
  publish(namespace: string, hub: string | null, signal: Signal): void
}
