import { SUBPROTOCOL } from '../protocol/limits.ts'
import { turnScope } from './scope.ts'
import type { Platform } from './socket.ts'

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

/** The global WebSocket of browsers, Deno, Bun and later versions of Node. */
export const WEB: Platform = {
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
