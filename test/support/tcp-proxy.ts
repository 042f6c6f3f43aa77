import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** `up`: from the side that connected to the one it connected to; `down`: back. */
export type Way = 'up' | 'down'
export type Ways = Way | 'both'
/** `near`: the side that connected to the proxy; `far`: the one behind it. */
export type Side = 'near' | 'far'

const waysOf = (ways: Ways): readonly Way[] => (ways === 'both' ? ['up', 'down'] : [ways])

/** What becomes of bytes from the server on their way; the same ones where nothing does. */
export type Translation = (bytes: Buffer) => Buffer
const same: Translation = (bytes) => bytes

/** One direction of a connection: bytes pass, pass later, wait, or vanish. */
class Pipe {
  readonly #from: Socket
  readonly #to: Socket
  #delayMs = 0
  #stalled = false
  #swallows = false
  /** Bytes on their way, in order; each with the moment from which it may pass. */
  readonly #waiting: { readonly bytes: Buffer; readonly dueAt: number }[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(from: Socket, to: Socket, translate: Translation) {
    this.#from = from
    this.#to = to
    from.on('data', (bytes: Buffer) => this.#onBytes(translate(bytes)))
    to.on('drain', () => {
      if (!this.#stalled) from.resume()
    })
  }

  #onBytes(bytes: Buffer): void {
    if (this.#swallows) return
    this.#waiting.push({ bytes, dueAt: performance.now() + this.#delayMs })
    this.#flush()
  }

  #flush(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#stalled) return
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      const wait = next.dueAt - performance.now()
      if (wait > 0) {
        this.#timer = setTimeout(() => this.#flush(), Math.ceil(wait))
        return
      }
      this.#waiting.shift()
      if (!this.#to.destroyed && !this.#to.write(next.bytes)) this.#from.pause()
    }
  }

  delay(ms: number): void {
    this.#delayMs = ms
  }

  /** Nothing is read any more: who writes here finds its buffers full after a while. */
  stall(): void {
    this.#stalled = true
    this.#from.pause()
  }

  /** What waits and what comes vanishes. */
  swallow(): void {
    this.end()
    this.#swallows = true
    this.#from.resume()
  }

  get swallows(): boolean {
    return this.#swallows
  }

  heal(): void {
    this.#delayMs = 0
    this.#stalled = false
    this.#flush()
    this.#from.resume()
  }

  end(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    this.#waiting.length = 0
  }
}

/** One connection through the proxy. Each fault stays until `heal`; a connection that was cut or has lost bytes does not come back. */
export class ProxiedConnection {
  readonly #sockets: Readonly<Record<Side, Socket>>
  readonly #pipes: Readonly<Record<Way, Pipe>>
  #halfOpen = false
  #subscribed = false
  readonly closed: Promise<void>

  constructor(near: Socket, far: Socket, translate: Translation, cutsAfter: (piece: Buffer) => boolean) {
    this.#sockets = { near, far }
    const onUp: Translation = (piece) => {
      this.#subscribed ||= piece.includes('subscribe')
      if (cutsAfter(piece)) {
        // The far side gets all of it, and its answer finds nobody.
        this.halfOpen('far')
        far.end(piece)
      }
      return piece
    }
    this.#pipes = { up: new Pipe(near, far, onUp), down: new Pipe(far, near, translate) }
    this.closed = new Promise((resolve) => {
      for (const side of ['near', 'far'] as const) {
        const socket = this.#sockets[side]
        socket.setNoDelay()
        // A failed socket closes too.
        socket.on('error', () => undefined)
        socket.on('close', () => {
          if (this.#halfOpen && !(near.destroyed && far.destroyed)) return
          this.cut()
          resolve()
        })
      }
    })
  }

  /** What is written from now on arrives so much later, in order. */
  delay(ms: number, ways: Ways = 'both'): void {
    for (const way of waysOf(ways)) this.#pipes[way].delay(ms)
  }

  /** Nothing passes; what was on its way passes after `heal`. */
  stall(ways: Ways = 'both'): void {
    for (const way of waysOf(ways)) this.#pipes[way].stall()
  }

  /** Both sides see a reset. */
  cut(): void {
    for (const way of ['up', 'down'] as const) this.#pipes[way].end()
    for (const side of ['near', 'far'] as const) {
      const socket = this.#sockets[side]
      if (!socket.destroyed) socket.resetAndDestroy()
    }
  }

  /** One side is gone; the other one is not told, and what it writes vanishes. */
  halfOpen(left: Side): void {
    this.freeze()
    this.#sockets[left === 'near' ? 'far' : 'near'].resetAndDestroy()
  }

  /** What either side writes vanishes, and neither is told of the other one's end. */
  freeze(): void {
    this.#halfOpen = true
    for (const way of ['up', 'down'] as const) this.#pipes[way].swallow()
  }

  /** Where the near side has subscribed to something: what the far side writes vanishes. */
  deafen(): void {
    if (this.#subscribed) this.#pipes.down.swallow()
  }

  heal(): void {
    if (this.#pipes.down.swallows) this.cut()
    else for (const way of ['up', 'down'] as const) this.#pipes[way].heal()
  }
}

/**
 * A TCP proxy in front of one server, with a network's faults: for all connections, those that come later included, until
 * `heal`; or for one of `connections`.
 */
export class TcpProxy {
  readonly port: number
  /** Where new connections go to. */
  targetPort: number
  /**
   * Called with each piece on its way up; true: it arrives, and its connection is cut before the answer. Not for pieces that
   * come after delayed or stalled ones.
   */
  cutsAfter: (piece: Buffer) => boolean = () => false
  /** Connections there were at once, at most. */
  most = 0
  readonly #server: Server
  readonly #translate: Translation
  readonly #connections = new Set<ProxiedConnection>()
  #onNew: (connection: ProxiedConnection) => void = () => undefined
  #refuses = false

  constructor(server: Server, targetPort: number, translate: Translation) {
    this.#server = server
    this.#translate = translate
    this.port = (server.address() as AddressInfo).port
    this.targetPort = targetPort
    server.on('connection', (near) => this.#connect(near))
  }

  get connections(): readonly ProxiedConnection[] {
    return [...this.#connections]
  }

  #connect(near: Socket): void {
    if (this.#refuses) {
      near.on('error', () => undefined)
      near.resetAndDestroy()
      return
    }
    const far = connect(this.targetPort, '127.0.0.1')
    const connection = new ProxiedConnection(near, far, this.#translate, (piece) => this.cutsAfter(piece))
    this.#connections.add(connection)
    this.most = Math.max(this.most, this.#connections.size)
    void connection.closed.then(() => this.#connections.delete(connection))
    this.#onNew(connection)
  }

  #forAll(act: (connection: ProxiedConnection) => void): void {
    this.#onNew = act
    for (const connection of this.#connections) act(connection)
  }

  delay(ms: number, ways: Ways = 'both'): void {
    this.#forAll((connection) => connection.delay(ms, ways))
  }

  stall(ways: Ways = 'both'): void {
    this.#forAll((connection) => connection.stall(ways))
  }

  /** Those there are now; new ones may come. */
  cut(): void {
    for (const connection of this.#connections) connection.cut()
  }

  /** Those there are now; new ones may come. */
  halfOpen(left: Side): void {
    for (const connection of this.#connections) connection.halfOpen(left)
  }

  /** Those there are now; new ones may come. */
  freeze(): void {
    for (const connection of this.#connections) connection.freeze()
  }

  /** Those there are now and have subscribed; new ones may come. */
  deafen(): void {
    for (const connection of this.#connections) connection.deafen()
  }

  /** New connections are reset at once, and those there are. */
  refuse(): void {
    this.#refuses = true
    this.cut()
  }

  /** Everything passes again. */
  heal(): void {
    this.#refuses = false
    this.#onNew = () => undefined
    for (const connection of this.#connections) connection.heal()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.cut()
    await closed
  }
}

/** Starts a proxy on a free port, in front of `targetPort` of this machine. */
export async function startTcpProxy(targetPort: number, translate = same): Promise<TcpProxy> {
  const server = createServer({ allowHalfOpen: false })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return new TcpProxy(server, targetPort, translate)
}
