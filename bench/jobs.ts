/** What the load generator is told to do to the server at `url`. */
export type Job =
  | {
      readonly kind: 'direct'
      readonly url: string
      readonly agents: number
      readonly windows: readonly number[]
      readonly seconds: number
      readonly payloadBytes: number
      readonly seq: boolean
    }
  /** As `direct`, but each message goes to the work queue that all agents serve. */
  | {
      readonly kind: 'queue'
      readonly url: string
      readonly agents: number
      readonly window: number
      readonly seconds: number
      readonly payloadBytes: number
      readonly seq: boolean
    }
  | {
      readonly kind: 'broadcast'
      readonly url: string
      readonly receivers: number
      readonly seconds: number
      readonly payloadBytes: number
      readonly seq: boolean
    }
  | { readonly kind: 'idle'; readonly url: string; readonly connections: number }
  | { readonly kind: 'register'; readonly url: string; readonly registered: number }
  /** Asked by the agent after the `registered` ones. */
  | { readonly kind: 'discover'; readonly url: string; readonly registered: number }

/** Milliseconds. */
export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

/** One flow of messages as the load generator saw it, from the first one sent to the last one completed. */
export interface Flow {
  readonly seconds: number
  /** Messages; of broadcasts: deliveries. */
  readonly completed: number
  readonly perSecond: number
  /** From `send` to the receiver. */
  readonly latency: Percentiles
  /** Of one core. */
  readonly generatorCpu: number
  /** What was sent and had not completed 30 s after the last was sent. */
  readonly lost: number
  readonly duplicates: number
  readonly errors: number
  readonly firstError: string | null
}

export interface DirectFlow extends Flow {
  readonly window: number
}

export interface RegisterResult {
  readonly registered: number
  /** While all of them came, 32 at once. */
  readonly registrationsPerSecond: number
  /** One after the other, from `hello` to `welcome`, when all were there. */
  readonly register: Percentiles
}

export type JobResult =
  | { readonly kind: 'direct'; readonly flows: readonly DirectFlow[] }
  | { readonly kind: 'queue'; readonly flow: Flow }
  | { readonly kind: 'broadcast'; readonly flow: Flow }
  | { readonly kind: 'idle'; readonly connections: number }
  | { readonly kind: 'register'; readonly result: RegisterResult }
  /** One after the other, from `discover` to `ok`. */
  | { readonly kind: 'discover'; readonly latency: Percentiles }

/** What a server under test has used since it started. */
export interface Usage {
  readonly cpuMs: number
  readonly rssBytes: number
}

/** Load generator → bench. A mark is answered with `go` once everybody's usage was read. */
export type FromLoad =
  | { readonly type: 'ready' }
  | { readonly type: 'mark'; readonly name: string; readonly collectGarbage: boolean }
  | { readonly type: 'result'; readonly result: JobResult }

export type ToLoad = { readonly type: 'job'; readonly job: Job } | { readonly type: 'go' }

/** Server under test → bench. */
export type FromServer =
  | { readonly type: 'ready'; readonly url: string }
  | { readonly type: 'usage'; readonly usage: Usage }

export type ToServer =
  | { readonly type: 'usage'; readonly collectGarbage: boolean }
  | { readonly type: 'stop' }
