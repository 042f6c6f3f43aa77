import type { AgentInfo } from '../protocol/agent.ts'
import type { MessageType, Target } from '../protocol/message.ts'
import type { Message } from '../protocol/pushes.ts'
import type { DiscoverResult, LeaderInfo, SendResult } from '../protocol/replies.ts'
import type { WaitOptions } from './calls.ts'
import type { DeadLetters } from './dead-letters.ts'
import type { BroadcastOptions, SendOptions } from './envelope.ts'
import type { Handler, HandlerOptions } from './message.ts'
import type { UpdateFields } from './options.ts'
import type { TrackedSend } from './receipts.ts'
import type { RequestOptions } from './requests.ts'
import type { ReceivedStream, StreamHandler, StreamRequestOptions, StreamWriter } from './stream.ts'
import type { ConnectionState } from './state.ts'
import type { StatusEvent } from './status.ts'
import type { Watch, WatchOptions } from './watch.ts'
import type { Where } from './where.ts'

export interface OpenStreamOptions {
  /** What it answers; at most 256 characters. */
  readonly correlationId?: string
}

export interface DiscoverOptions extends WaitOptions {
  /** Agents in one page, 1 to 1,000. Default 100. */
  readonly limit?: number
  /** Of the page before. */
  readonly cursor?: string | null
}

export interface CloseOptions {
  /** True: the agent is unregistered and its inbox dead-lettered. Default false: it is offline, its inbox goes on filling. */
  readonly unregister?: boolean
}

/** One agent (or observer) on a mesh: keeps connected, resends, acknowledges, watches, until `close()`. */
export interface Client {
  /** What the namespace has given up: to list, to store again, to delete. */
  readonly deadLetters: DeadLetters
  /** This agent's id; null of an observer. */
  readonly id: string | null

  /** This agent as the hub registered it last (at the latest welcome or `update`); null of an observer. */
  readonly agent: AgentInfo | null

  /** Proof that `id` is this client's, for a later client with the same `id` (`options.session`); null of an observer. */
  readonly session: string | null

  /** Where the client stands now; `status()` tells each change. */
  readonly state: ConnectionState

  /** Resolves when the client has ended: null after `close()`, else the reason. Never rejects. */
  readonly closed: Promise<Error | null>

  /**
   * Sends a message; `to` is an agent's id or a target. Resolves when the mesh has stored it (not: delivered). While there is
   * no connection it waits; what was not answered is sent again after reconnecting, in order, and stored once. With `receipt`
   * the result also tells what becomes of it.
   * @throws MeshError as the hub says (`unknown_target`, `inbox_full`, …), or `bad_frame`, `payload_too_large` at once,
   * `overflow` (`maxOutgoing`), `closed`; the reason of `signal`
   */
  send(
    to: Target | string,
    payload: unknown,
    options: SendOptions & { readonly receipt: true },
  ): Promise<TrackedSend>
  send(to: Target | string, payload: unknown, options?: SendOptions): Promise<SendResult>

  /**
   * Sends a message to everybody, a group, or all that have a capability: all registered agents that match now, connected or
   * not.
   * @throws as `send`
   */
  broadcast(payload: unknown, options?: BroadcastOptions): Promise<SendResult>

  /**
   * Sends a `query` and waits for the `response` to it, which is acknowledged when it comes. A handler may do this too.
   * @throws as `send`; MeshError `timeout` (a `TimeoutError` by name) when no reply came within `timeoutMs`
   */
  request<Payload = unknown>(
    to: Target | string,
    payload: unknown,
    options?: RequestOptions,
  ): Promise<Message<Payload>>

  /**
   * Sends a `query` at once and reads the answer as it is made: `for await (const token of client.requestStream(to, question))`.
   * What the other side's handler yields comes chunk by chunk, and it is asked for more only as fast as this loop reads. The loop
   * ends normally only when the answer is complete. Leaving it, `cancel()` and `signal` end it for the other side too, whose
   * handler's `signal` is aborted. A handler that returns a plain reply instead makes a stream of that one chunk.
   * The loop throws as `request` does, and `StreamError` where the answer breaks off (`peer_gone`, `interrupted`, or the code of
   * the error that the handler threw), always after the chunks that came before.
   * @throws MeshError `bad_frame` for a `window` that is none
   */
  requestStream<Payload = unknown>(
    to: Target | string,
    payload: unknown,
    options?: StreamRequestOptions,
  ): ReceivedStream<Payload>

  /**
   * Opens a stream to a connected agent, for what no query asks for: the other side takes it with `onStream`.
   * @throws MeshError `unknown_target` where the agent is not connected, `forbidden`, `inbox_full` where it has 1,000 streams;
   * `connection_lost` when that happens first
   */
  openStream<Chunk = unknown>(agentId: string, options?: OpenStreamOptions): Promise<StreamWriter<Chunk>>

  /**
   * Takes the streams that answer no request of this client; without it they are cancelled. One handler; answers how to remove it.
   * @throws TypeError where there is a handler already
   */
  onStream<Payload = unknown>(handler: StreamHandler<Payload>): () => void

  /**
   * Handles messages of one type, or of all types without a handler of their own. One handler each; answers how to remove it.
   * Messages that come before there is a handler wait, as many as the window holds.
   * @throws TypeError where there is a handler already; RangeError for a `timeoutMs` that is none
   */
  onMessage<Payload = unknown>(handler: Handler<Payload>, options?: HandlerOptions): () => void
  onMessage<Payload = unknown>(
    type: MessageType,
    handler: Handler<Payload>,
    options?: HandlerOptions,
  ): () => void

  /**
   * Handles the work of one of this agent's capabilities, what was sent to `{ capability }`, whatever its type; it goes before
   * the handlers of `onMessage`, which take what has no such handler.
   * @throws as `onMessage`
   */
  onWork<Payload = unknown>(
    capability: string,
    handler: Handler<Payload>,
    options?: HandlerOptions,
  ): () => void

  /** One page of the agents that match, sorted by name; only `online` ones unless `where.status` says otherwise. */
  discover(where?: Where, options?: DiscoverOptions): Promise<DiscoverResult>

  /** All agents that match, page by page as they are read. */
  discoverAll(where?: Where, options?: Omit<DiscoverOptions, 'cursor'>): AsyncGenerator<AgentInfo, undefined>

  /** A live view of the agents that match: a map that follows every change, and an iterator over the changes. */
  watch(where?: Where | null, options?: WatchOptions): Watch

  /** Changes this agent's registration; what is changed holds over reconnections. At most 5 a second. */
  update(fields: UpdateFields, options?: WaitOptions): Promise<AgentInfo>

  /** Who leads the namespace now, and in which term. */
  leader(options?: WaitOptions): Promise<LeaderInfo>

  /** The state now, each change of it, and other incidents; ends when the client has. Bounded: of unread ones the last 1,000. */
  status(): AsyncIterableIterator<StatusEvent, undefined>

  /**
   * Ends the client in order: starts no more handlers, lets running ones finish and waits for the answers to what was sent (both
   * together at most `closeTimeoutMs`), acknowledges, says `bye`, closes the socket. Never rejects; what is left is rejected with
   * `closed`.
   */
  close(options?: CloseOptions): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}
