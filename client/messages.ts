import type { Target } from '../protocol/message.ts'
import type { Message } from '../protocol/pushes.ts'
import type { Handler, HandlerContext, ReceivedMessage } from './message.ts'
import type { RequestOptions } from './requests.ts'

declare const ENTRY: unique symbol

/**
 * A message type of a map, where what is sent and what is received may differ (a schema may transform it). `Answered`: what its
 * handler gives as the reply; `Answer`: what the asker gets; never: it is not answered.
 */
export interface Entry<Sent, Received, Answered = never, Answer = never> {
  readonly [ENTRY]: {
    readonly sent: Sent
    readonly received: Received
    readonly answered: Answered
    readonly answer: Answer
  }
}

/**
 * In a map of messages, a type that is asked and answered:
 * `type Messages = { 'job.done': { id: string }; translate: Exchange<{ text: string }, { text: string }> }`.
 * Of a streamed answer `Reply` is each chunk.
 */
export interface Exchange<Payload, Reply> extends Entry<Payload, Payload, Reply, Reply> {}

/** The types of a map. */
export type TypeIn<Messages> = keyof Messages & string

/** The types of a map that are answered. */
export type ExchangeIn<Messages> = {
  [Type in TypeIn<Messages>]: [AnswerOf<Messages, Type>] extends [never] ? never : Type
}[TypeIn<Messages>]

/** What is given to send one; never for a type that is not in the map. */
export type SentOf<Messages, Type> = Type extends keyof Messages
  ? Messages[Type] extends Entry<infer Sent, unknown, unknown, unknown>
    ? Sent
    : Messages[Type]
  : never

/** What its handler gets as the payload. */
export type ReceivedOf<Messages, Type> = Type extends keyof Messages
  ? Messages[Type] extends Entry<unknown, infer Received, unknown, unknown>
    ? Received
    : Messages[Type]
  : never

/** What its handler gives as the reply; never: it gives none. */
export type AnsweredOf<Messages, Type> = Type extends keyof Messages
  ? Messages[Type] extends Entry<unknown, unknown, infer Answered, unknown>
    ? Answered
    : never
  : never

/** What who asks gets as the reply; never: there is none. */
export type AnswerOf<Messages, Type> = Type extends keyof Messages
  ? Messages[Type] extends Entry<unknown, unknown, unknown, infer Answer>
    ? Answer
    : never
  : never

/** A message of a map as a handler gets it, told apart by `messageType`. */
export type TypedMessage<Messages, Type = TypeIn<Messages>> =
  Type extends TypeIn<Messages>
    ? ReceivedMessage<ReceivedOf<Messages, Type>, Type, AnsweredOf<Messages, Type>>
    : never

/** Options that name the type. */
export type Naming<Options, Type> = Options & { readonly type: Type }

/** Those of the type that is the default need not name it. */
export type MayName<Options, Type> = Options & { readonly type?: Type }

/** `request` by a map of messages. */
export interface TypedRequest<Messages> {
  <Type extends ExchangeIn<Messages>>(
    to: Target | string,
    payload: SentOf<Messages, Type>,
    options: Naming<RequestOptions, Type>,
  ): Promise<Message<AnswerOf<Messages, Type>>>
  (
    to: Target | string,
    payload: SentOf<Messages, 'query'>,
    options?: MayName<RequestOptions, 'query'>,
  ): Promise<Message<AnswerOf<Messages, 'query'>>>
}

/** What a handler of a map may use besides the message. */
export interface TypedContext<Messages> extends Omit<HandlerContext, 'request'> {
  readonly request: TypedRequest<Messages>
}

type Result<Answered> = [Answered] extends [never]
  ? ReturnType<Handler>
  : Answered | void | Promise<Answered | void> | AsyncIterable<Answered>

/** Handles messages of a map: returns the reply where the type is an `Exchange`, or nothing, or yields the chunks of one. */
export type TypedHandler<Messages, Type = TypeIn<Messages>> = (
  message: TypedMessage<Messages, Type>,
  context: TypedContext<Messages>,
) => Result<AnsweredOf<Messages, Type>>
