/** The message types with a meaning of their own; any other 1 to 64 of `[a-z0-9_.-]` is a custom one. */
export const MESSAGE_TYPES = [
  'query',
  'response',
  'notification',
  'task_delegation',
  'task_result',
  'graph_sync',
] as const

export type MessageType = (typeof MESSAGE_TYPES)[number] | (string & {})

/** Where a `send` goes (PROTOCOL.md section 4): one key, besides `mode`. */
export type Target =
  | { readonly agent: string }
  | { readonly name: string }
  | { readonly leader: true }
  | { readonly capability: string; readonly mode?: 'one' | 'all' | undefined }
  | { readonly group: string }
  | { readonly all: true }

export type Durability = 'stored' | 'transient'

/** How a message came: to this agent, from a work queue, or as a broadcast to all, a group or a capability. */
export type Via = 'direct' | 'queue' | 'broadcast' | 'group' | 'capability'

/** Why a message is given up where no `nack` says it (PROTOCOL.md section 5). */
export const DEAD_REASONS = [
  'max_attempts',
  'ack_timeout',
  'holder_lost',
  'expired',
  'unregistered',
  'retention',
  'inbox_overflow',
  'broadcast_log_cut',
] as const

export const MESSAGE_TYPE_PATTERN = /^[a-z0-9_.-]{1,64}$/
