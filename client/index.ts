import { SUBPROTOCOL } from '../protocol/limits.ts'
import { connectOn } from './endpoint.ts'
import type { AgentOptions, ConnectOptions } from './options.ts'
import { turnScope } from './scope.ts'
import type { Platform } from './socket.ts'
import type { MessagesOf, Schemas } from './standard-schema.ts'
import type { Client } from './typed-client.ts'

let channel: MessageChannel | null = null
const deferred: (() => void)[] = []

function runDeferred(): void {
  deferred.shift()?.()
}

/** Not `setTimeout`, which a hidden tab runs once a second or a minute. */
function defer(task: () => void): void {
  // Deno, Bun and Node have it; there an open MessageChannel would keep the process alive.
  const { setImmediate } = globalThis as { setImmediate?: (task: () => void) => unknown }
  if (setImmediate) {
    setImmediate(task)
    return
  }
  if (!channel) {
    channel = new MessageChannel()
    channel.port1.onmessage = runDeferred
  }
  deferred.push(task)
  channel.port2.postMessage(null)
}

function onWake(woke: (atOnce: boolean) => void, putAway: () => void): () => void {
  const { document } = globalThis
  const stop = new AbortController()
  const on = (target: EventTarget | undefined, type: string, listener: () => void): void =>
    target?.addEventListener?.(type, listener, { signal: stop.signal })
  const back = (): void => woke(true)
  on(globalThis, 'pagehide', putAway)
  on(globalThis, 'pageshow', back)
  on(document, 'freeze', putAway)
  on(document, 'resume', back)
  on(globalThis, 'online', () => woke(false))
  on(document, 'visibilitychange', () => document.hidden || woke(false))
  return () => stop.abort()
}

const WEB: Platform = {
  tokenInHello: true,
  scope: /* @__PURE__ */ turnScope(),
  open(url, _token, listener) {
    const socket = new WebSocket(url, [SUBPROTOCOL])
    socket.onopen = () => listener.opened()
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === 'string') listener.text(data)
    }
    socket.onclose = ({ code, reason }) => listener.closed(code, reason)
    return {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text)
      },
      close: (code, reason) => socket.close(code, reason),
      abandon() {
        socket.onopen = socket.onmessage = socket.onclose = null
        socket.close()
      },
    }
  },
  defer,
  onWake,
}

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
export { StreamError } from './errors.ts'
export { MeshError } from '../protocol/errors.ts'
