import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

interface Pair {
  readonly client: Socket
  readonly upstream: Socket
  /** The client has subscribed to something. */
  subscribed: boolean
  /** Its bytes are lost from now on, in this direction; its end is not told. */
  lostUp: boolean
  lostDown: boolean
}

/** A TCP relay before a server: connections by way of it can be refused, cut, and left half open. */
export class TcpRelay {
  readonly port: number
  /** New connections are reset. */
  refuse = false
  /**
   * Called with each piece on its way to the server, before it is sent; true: it is sent, and the connection cut before the answer.
   */
  cutsAfter: (piece: Buffer) => boolean = () => false
  readonly #server: ReturnType<typeof createServer>
  readonly #pairs = new Set<Pair>()

  constructor(server: ReturnType<typeof createServer>, target: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (client) => {
      if (this.refuse) client.resetAndDestroy()
      else this.#relay(client, connect(target, '127.0.0.1'))
    })
  }

  #relay(client: Socket, upstream: Socket): void {
    const pair: Pair = { client, upstream, subscribed: false, lostUp: false, lostDown: false }
    this.#pairs.add(pair)
    const end = (): void => {
      if (pair.lostUp && !client.destroyed) return
      this.#pairs.delete(pair)
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end).setNoDelay(true)
    client.on('data', (piece: Buffer) => {
      pair.subscribed ||= piece.includes('subscribe')
      if (pair.lostUp) return
      if (!this.cutsAfter(piece)) {
        upstream.write(piece)
        return
      }
      // The server gets all of it, and its answer finds nobody.
      upstream.removeAllListeners('data').resume()
      upstream.end(piece, () => client.destroy())
    })
    upstream.on('data', (piece: Buffer) => {
      if (!pair.lostDown) client.write(piece)
    })
  }

  /** Cuts every connection. */
  cut(): void {
    for (const { client, upstream } of this.#pairs) {
      client.resetAndDestroy()
      upstream.destroy()
    }
  }

  /** The connections there are are half open from now on: nothing goes or comes, and neither side is told. New ones pass. */
  freeze(): void {
    for (const pair of this.#pairs) pair.lostUp = pair.lostDown = true
  }

  /** Nothing comes any more by the connections that have subscribed. New ones pass. */
  deafen(): void {
    for (const pair of this.#pairs) pair.lostDown ||= pair.subscribed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** Starts a relay on a free port before 127.0.0.1:`target`. */
export async function startTcpRelay(target: number): Promise<TcpRelay> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return new TcpRelay(server, target)
}
