import { Redis } from 'ioredis'
import { type WebSocket, WebSocketServer } from 'ws'
import { serve } from './serve.ts'

/**
 * The relay that the hub is measured against: what one writes in an afternoon with `ws`, speaking just enough of the
 * protocol for the same load generator. It registers nothing, checks nothing and forgets whoever leaves. With a Redis URL as
 * its argument each directed message is stored by one XADD before its sender is told `ok`, and removed by one XDEL when its
 * receiver has acknowledged it.
 */
interface Frame {
  readonly type: string
  readonly ref: number
  readonly agent: { readonly id: string }
  readonly to: { readonly agent?: string; readonly all?: boolean }
  readonly payload: unknown
  readonly ids: readonly string[]
}

const url = process.argv[2]
const redis = url === undefined ? null : new Redis(url, { enableAutoPipelining: true })
const sockets = new Map<string, WebSocket>()
let messages = 0

function pass(from: string, socket: WebSocket, { ref, to, payload }: Frame, id: string): void {
  socket.send(JSON.stringify({ type: 'ok', ref, result: { id } }))
  const text = JSON.stringify({ type: 'message', id, from, payload })
  if (to.agent !== undefined) sockets.get(to.agent)?.send(text)
  else for (const other of sockets.values()) if (other !== socket) other.send(text)
}

async function storeAndPass(store: Redis, from: string, socket: WebSocket, frame: Frame): Promise<void> {
  const { to, payload } = frame
  const body = JSON.stringify({ from, payload })
  if (to.agent !== undefined) {
    pass(from, socket, frame, (await store.xadd(to.agent, '*', 'message', body)) ?? '')
  } else {
    // A log rather than an entry a receiver: `b` tells an acknowledgement that there is nothing to delete.
    pass(
      from,
      socket,
      frame,
      `b${await store.xadd('broadcasts', 'MAXLEN', '~', 10_000, '*', 'message', body)}`,
    )
  }
}

function fail(error: unknown): void {
  console.error(error)
  process.exit(1)
}

function receive(agentId: string, socket: WebSocket, frame: Frame): void {
  if (frame.type === 'send') {
    if (redis === null) pass(agentId, socket, frame, String(++messages))
    else storeAndPass(redis, agentId, socket, frame).catch(fail)
  } else if (frame.type === 'ack' && redis !== null) {
    for (const id of frame.ids) if (!id.startsWith('b')) redis.xdel(agentId, id).catch(fail)
  }
}

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
server.on('connection', (socket) => {
  let agentId = ''
  socket.on('message', (data: Buffer) => {
    for (const line of data.toString().split('\n')) {
      const frame = JSON.parse(line) as Frame
      if (frame.type === 'hello') {
        agentId = frame.agent.id
        sockets.set(agentId, socket)
        socket.send(JSON.stringify({ type: 'welcome', ref: frame.ref }))
      } else {
        receive(agentId, socket, frame)
      }
    }
  })
  socket.on('close', () => sockets.delete(agentId))
})
server.on('listening', () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) serve(`ws://127.0.0.1:${address.port}/mesh`)
})
