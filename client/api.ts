export type { ClientErrorCode } from './error-table.ts'
export type { AgentInfo, AgentStatus } from '../protocol/agent.ts'
export type { ErrorCode } from '../protocol/errors.ts'
export type { Durability, MessageType, Target, Via } from '../protocol/message.ts'
export type { Event, EventKind, Message, Receipt } from '../protocol/pushes.ts'
export type {
  DeadLetterInfo,
  DeadLettersListResult,
  DeadLettersPurgeResult,
  DeadLettersRedriveResult,
  DiscoverResult,
  LeaderInfo,
  SendResult,
} from '../protocol/replies.ts'
export type { WaitOptions } from './calls.ts'
export type { CloseOptions, DiscoverOptions, OpenStreamOptions } from './client.ts'
export type { DeadLetterChoice, DeadLetterListOptions, DeadLetters, DeadLetterWhere } from './dead-letters.ts'
export type { Audience, BroadcastOptions, SendOptions } from './envelope.ts'
export type { Handler, HandlerContext, HandlerOptions, ReceivedMessage, ReplyOptions } from './message.ts'
export type { Entry, Exchange, TypedContext, TypedHandler, TypedMessage } from './messages.ts'
export type { NackOptions } from './nack.ts'
export type { AgentOptions, ConnectOptions, ObserverOptions, UpdateFields } from './options.ts'
export type { Outbox } from './outgoing.ts'
export type { SettledReceipt, TrackedSend } from './receipts.ts'
export type { RequestOptions } from './requests.ts'
export type { MessagesOf, SchemaIssue, Schemas, SchemaResult, StandardSchema } from './standard-schema.ts'
export type { ConnectionState, Ending } from './state.ts'
export type { Incident, StatusEvent } from './status.ts'
export type { ReceivedStream, StreamHandler, StreamRequestOptions, StreamWriter } from './stream.ts'
export type { Client, TypedClient } from './typed-client.ts'
export type { ListEvent, Watch, WatchEvent, WatchOptions } from './watch.ts'
export type { Where } from './where.ts'
