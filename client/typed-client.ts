import type { Target } from '../protocol/message.ts'
import type { SendResult } from '../protocol/replies.ts'
import type { Client as AnyClient } from './client.ts'
import type { BroadcastOptions, SendOptions } from './envelope.ts'
import type { Handler, HandlerOptions } from './message.ts'
import type {
  AnswerOf,
  ExchangeIn,
  MayName,
  Naming,
  SentOf,
  TypedHandler,
  TypedRequest,
  TypeIn,
} from './messages.ts'
import type { TrackedSend } from './receipts.ts'
import type { ReceivedStream, StreamRequestOptions } from './stream.ts'

type WithReceipt = SendOptions & { readonly receipt: true }

/**
 * A client whose messages are those of a map (see `Exchange`): the same object, only the types are narrower. `type` may be left
 * out where the map has the default one, `notification` or `query`.
 */
export interface TypedClient<Messages> extends Omit<
  AnyClient,
  'send' | 'broadcast' | 'request' | 'requestStream' | 'onMessage' | 'onWork'
> {
  /** As of any client; `type` picks the payload. */
  send<Type extends TypeIn<Messages>>(
    to: Target | string,
    payload: SentOf<Messages, Type>,
    options: Naming<WithReceipt, Type>,
  ): Promise<TrackedSend>
  send<Type extends TypeIn<Messages>>(
    to: Target | string,
    payload: SentOf<Messages, Type>,
    options: Naming<SendOptions, Type>,
  ): Promise<SendResult>
  send(
    to: Target | string,
    payload: SentOf<Messages, 'notification'>,
    options: MayName<WithReceipt, 'notification'>,
  ): Promise<TrackedSend>
  send(
    to: Target | string,
    payload: SentOf<Messages, 'notification'>,
    options?: MayName<SendOptions, 'notification'>,
  ): Promise<SendResult>

  /** As of any client; `type` picks the payload. */
  broadcast<Type extends TypeIn<Messages>>(
    payload: SentOf<Messages, Type>,
    options: Naming<BroadcastOptions, Type>,
  ): Promise<SendResult>
  broadcast(
    payload: SentOf<Messages, 'notification'>,
    options?: MayName<BroadcastOptions, 'notification'>,
  ): Promise<SendResult>

  /** As of any client; `type` names an `Exchange`, and picks payload and reply. */
  readonly request: TypedRequest<Messages>

  /** As of any client; `type` names an `Exchange`, and picks the payload and what each chunk is. */
  requestStream<Type extends ExchangeIn<Messages>>(
    to: Target | string,
    payload: SentOf<Messages, Type>,
    options: Naming<StreamRequestOptions, Type>,
  ): ReceivedStream<AnswerOf<Messages, Type>>
  requestStream(
    to: Target | string,
    payload: SentOf<Messages, 'query'>,
    options?: MayName<StreamRequestOptions, 'query'>,
  ): ReceivedStream<AnswerOf<Messages, 'query'>>

  /** As of any client. Without a type the message is one of the map, told apart by `messageType`. */
  onMessage<Type extends TypeIn<Messages>>(
    type: Type,
    handler: TypedHandler<Messages, Type>,
    options?: HandlerOptions,
  ): () => void
  onMessage(handler: TypedHandler<Messages>, options?: HandlerOptions): () => void
  /** Replies that nobody waits for. */
  onMessage(type: 'response', handler: Handler, options?: HandlerOptions): () => void

  /** As of any client. Any message of the map may be work; `Type` says which ones are that of this capability. */
  onWork<Type extends TypeIn<Messages> = TypeIn<Messages>>(
    capability: string,
    handler: TypedHandler<Messages, Type>,
    options?: HandlerOptions,
  ): () => void
}

/** One agent (or observer) on a mesh, as `connect` answers it; with a map of messages a `TypedClient`. */
export type Client<Messages = unknown> = unknown extends Messages ? AnyClient : TypedClient<Messages>
