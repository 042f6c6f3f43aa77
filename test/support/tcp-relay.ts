import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What becomes of bytes: passed on, kept until something else is said, or dropped, as on a line that is half open. */
export type Line = 'pass' | 'hold' | 'drop'

/** A TCP relay before a server, which can be cut, held and made deaf. */
export interface TcpRelay {
  readonly port: number
  /** Bytes to the server; what is held goes on with `pass`. */
  toServer: Line
  /** Bytes from the server. */
  toClient: Line
  /** New connections are refused (reset) while true. */
  refuse: boolean
  /** Called with each piece on its way to the server, before it is sent; `true` cuts that connection once the piece has been sent. */
  onSent: (piece: Buffer) => boolean
  /** Cuts every connection. */
  cut(): void
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts a relay on a free port before 127.0.0.1:`target`. */
export async function startTcpRelay(target: number): Promise<TcpRelay> {
  const pairs = new Set<readonly [Socket, Socket]>()
  const held = new Map<Socket, Buffer[]>()
  const lines = { toServer: 'pass', toClient: 'pass' } as { toServer: Line; toClient: Line }
  const forward = (to: Socket, piece: Buffer, line: Line): void => {
    if (line === 'pass') to.write(piece)
    if (line === 'hold') held.set(to, [...(held.get(to) ?? []), piece])
  }
  const server = createServer((client) => {
    if (relay.refuse) {
      client.resetAndDestroy()
      return
    }
    const upstream = connect(target, '127.0.0.1')
    const pair = [client, upstream] as const
    pairs.add(pair)
    const end = (): void => {
      pairs.delete(pair)
      client.destroy()
      upstream.destroy()
    }
    for (const socket of pair) socket.on('error', end).on('close', end).setNoDelay(true)
    client.on('data', (piece: Buffer) => {
      const isLast = relay.onSent(piece)
      if (isLast) {
        // The server gets it all, and its answer finds nobody.
        client.pause()
        upstream.removeAllListeners('data')
        upstream.end(piece, () => client.destroy())
        return
      }
      forward(upstream, piece, lines.toServer)
    })
    upstream.on('data', (piece: Buffer) => forward(client, piece, lines.toClient))
  })
  const release = (): void => {
    for (const [to, pieces] of held) for (const piece of pieces) to.write(piece)
    held.clear()
  }
  const relay: TcpRelay = {
    port: 0,
    refuse: false,
    onSent: () => false,
    get toServer() {
      return lines.toServer
    },
    set toServer(line) {
      lines.toServer = line
      if (line === 'pass') release()
    },
    get toClient() {
      return lines.toClient
    },
    set toClient(line) {
      lines.toClient = line
      if (line === 'pass') release()
    },
    cut() {
      for (const [client, upstream] of pairs) {
        client.resetAndDestroy()
        upstream.destroy()
      }
    },
    async [Symbol.asyncDispose]() {
      relay.cut()
      server.close()
      await once(server, 'close')
    },
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.defineProperty(relay, 'port', { value: (server.address() as AddressInfo).port })
}
