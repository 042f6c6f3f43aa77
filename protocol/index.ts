export * from './agent.ts'
export * from './close-codes.ts'
export * from './codec.ts'
export * from './commands.ts'
export * from './error-table.ts'
export * from './errors.ts'
export { LIMITS, PROTOCOL_VERSION, SUBPROTOCOL } from './limits.ts'
export * from './message.ts'
export type * from './replies.ts'
export type { Event, EventKind, Goaway, Message, Push, Snapshot } from './pushes.ts'
export type {
  StreamCancelled,
  StreamChunked,
  StreamCredited,
  StreamEnded,
  StreamError,
  StreamOpened,
} from './pushes.ts'
