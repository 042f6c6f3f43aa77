import type { Message } from '../protocol/pushes.ts'
import type { SendResult } from '../protocol/replies.ts'
import type { HandlerRun } from './handler-run.ts'
import type { HandlerContext, ReplyOptions } from './message.ts'
import type { Scope } from './scope.ts'
import type { Incident } from './status.ts'
import type { Line } from './writer.ts'

/** What messages on their way to the handlers need of the rest of the client. */
export interface IncomingPort {
  readonly scope: Scope
  /** Writes to the open connection; without one, nowhere. */
  write(line: Line): void
  reply(message: Message, payload: unknown, options: ReplyOptions): Promise<SendResult>
  /** A request that `run` waits for. */
  request(run: HandlerRun, ...args: Parameters<HandlerContext['request']>): Promise<Message>
  /** Sends what a handler yields; resolves when the message is processed, rejects where it is to be given back. */
  stream(message: Message, values: AsyncIterable<unknown>, run: HandlerRun): Promise<void>
  /** Gives a response to the request that waits for it. Answers false where none does. */
  take(message: Message): boolean
  /** Requests that wait for their reply now. */
  waiting(): number
  emit(incident: Incident): void
}

export interface IncomingLimits {
  /** Handlers that run at once, to begin with. */
  readonly concurrency: number
  /** Transient messages that wait for a place at most. */
  readonly window: number
  /** After how long a message whose handler failed is pushed again, unless its `Nack` says. */
  readonly redeliveryDelayMs: number
  /** How long a message waits for a handler while there are others. */
  readonly unhandledTimeoutMs: number
}
