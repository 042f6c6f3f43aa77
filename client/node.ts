import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingMessage } from 'node:http'
import WebSocket from 'ws'
import { SUBPROTOCOL } from '../protocol/limits.ts'
import { connectOn } from './endpoint.ts'
import type { HandlerRun } from './handler-run.ts'
import type { AgentOptions, ConnectOptions } from './options.ts'
import type { Platform } from './socket.ts'
import type { MessagesOf, Schemas } from './standard-schema.ts'
import type { Client } from './typed-client.ts'

/** What refused upgrades amount to: the same token, or origin, would be refused again. */
const REFUSED: ReadonlyMap<number | undefined, number> = new Map([
  [400, 4400],
  [401, 4401],
  [403, 4403],
])

/** A hub that asks for more than this is asked again. */
const RETRY_AFTER_MAX_S = 600

/** What is longer is no sentence of a hub. */
const SAID_MAX_CHARS = 1_024

/** What a hub says with a refusal, in plain text; empty where somebody else answers. It ends at the latest with its socket. */
async function said(response: IncomingMessage): Promise<string> {
  if (response.headers['content-type']?.startsWith('text/plain') !== true) return ''
  let text = ''
  for await (const part of response.setEncoding('utf8')) {
    text += part as string
    if (text.length > SAID_MAX_CHARS) return ''
  }
  return text.trim()
}

const NODE: Platform = {
  tokenInHello: false,
  // One for all clients of the process: a handler of one may ask with another.
  scope: new AsyncLocalStorage<HandlerRun>(),
  open(url, token, listener) {
    const socket = new WebSocket(url, [SUBPROTOCOL], {
      perMessageDeflate: false,
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
    })
    let failure = ''
    socket.on('open', () => listener.opened())
    socket.on('message', (data, isBinary) => {
      if (!isBinary) listener.text((data as Buffer).toString())
    })
    // `close` follows each `error`, without a word about what was wrong.
    socket.on('error', (error) => (failure ||= error.message))
    socket.on('close', (code, reason) =>
      listener.closed(refused ?? code, reason.toString() || failure, retryAfterMs),
    )
    let retryAfterMs: number | undefined
    let refused: number | undefined
    socket.on('unexpected-response', (_request, response) => {
      failure = `Unexpected server response: ${response.statusCode}`
      refused = REFUSED.get(response.statusCode)
      const seconds = Number(response.headers['retry-after'] ?? Number.NaN)
      if ((response.statusCode === 503 || response.statusCode === 429) && seconds >= 0)
        retryAfterMs = Math.min(seconds, RETRY_AFTER_MAX_S) * 1000
      said(response)
        .then(
          (sentence) => {
            if (sentence !== '') failure = `${sentence} (HTTP ${response.statusCode})`
          },
          // Cut off: the status has to do.
          () => undefined,
        )
        .finally(() => socket.terminate())
    })
    return {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text)
      },
      close: (code, reason) => socket.close(code, reason),
      abandon() {
        socket.removeAllListeners()
        // Cutting off a socket that is still connecting is an `error`, and one that nobody hears ends the process.
        socket.on('error', () => undefined)
        socket.terminate()
      },
    }
  },
  defer: (task) => void setImmediate(task),
  onWake: () => () => undefined,
}

/**
 * Connects to a mesh over `ws`; resolves when the hub has welcomed this client for the first time. The token travels in the
 * `Authorization` header. While the client is not closed it keeps the process alive.
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
  return connectOn(NODE, options)
}

export type * from './api.ts'
export { Nack } from './nack.ts'
export { StreamError } from './stream-error.ts'
export { MeshError } from '../protocol/errors.ts'
