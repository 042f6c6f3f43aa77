import { connectOn } from './endpoint.ts'
import type { AgentOptions, ConnectOptions } from './options.ts'
import type { MessagesOf, Schemas } from './standard-schema.ts'
import type { Client } from './typed-client.ts'
import { WEB } from './web.ts'

/**
 * Connects to a mesh over the platform's own WebSocket; resolves when the hub has welcomed this client for the first time.
 * The token travels in `hello`, since browsers can't set headers.
 * `connect<Messages>(…)` has the types of a map of messages (see {@link Exchange}); it checks nothing at run time.
 * With `schemas` it has the types of those, and does check.
 * @throws MeshError when the hub refuses for good (see {@link ConnectOptions}), the reason of `signal` when that aborts first
 */
export function connect<Given extends Schemas>(
  options: AgentOptions & { readonly schemas: Given },
): Promise<Client<MessagesOf<Given>>>
export function connect(options: ConnectOptions): Promise<Client>
export function connect<Messages>(options: ConnectOptions): Promise<Client<Messages>>
export function connect(options: ConnectOptions): Promise<unknown> {
  return connectOn(WEB, options)
}

export type * from './api.ts'
export { Nack } from './nack.ts'
export { StreamError } from './stream-error.ts'
export { MeshError } from '../protocol/errors.ts'
