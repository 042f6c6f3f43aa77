import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'

/** A TCP door in front of a hub: one address for all of the hub's lives, and every connection can be cut at it. */
export class Gate {
  readonly port: number
  /** The port that connections are led to; null: they are closed at once, like those to a hub that is down. */
  target: number | null = null
  readonly #server: Server
  readonly #pairs: Set<() => void>

  /** Opens on a port of the loopback address, 0 for any free one. @throws Error where the port is taken */
  static async open(port: number): Promise<Gate> {
    const pairs = new Set<() => void>()
    const gate: { current: Gate | null } = { current: null }
    const server = createServer((socket) => lead(socket, gate.current?.target ?? null, pairs))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
    gate.current = new Gate(server, pairs)
    return gate.current
  }

  private constructor(server: Server, pairs: Set<() => void>) {
    this.#server = server
    this.#pairs = pairs
    this.port = (server.address() as AddressInfo).port
  }

  /** Ends every connection there is now, without a word to either side; answers how many. */
  cut(): number {
    const ends = [...this.#pairs]
    for (const end of ends) end()
    return ends.length
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.cut()
    await closed
  }
}

function lead(client: Socket, target: number | null, pairs: Set<() => void>): void {
  // A peer that is gone already is no news.
  client.on('error', () => undefined)
  if (target === null) {
    client.destroy()
    return
  }
  const hub = connect(target, '127.0.0.1')
  const end = (): void => {
    pairs.delete(end)
    client.destroy()
    hub.destroy()
  }
  pairs.add(end)
  hub.on('error', end)
  // What one side wrote before it closed still reaches the other.
  client.on('close', () => {
    pairs.delete(end)
    hub.destroySoon()
  })
  hub.on('close', () => {
    pairs.delete(end)
    client.destroySoon()
  })
  client.setNoDelay()
  hub.setNoDelay()
  client.pipe(hub)
  hub.pipe(client)
}
