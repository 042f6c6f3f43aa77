import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Hub } from '../hub/hub.ts'
import type { Log } from '../observability/log.ts'
import { decode, encode } from './codec.ts'
import type { MxpMessage } from './message.ts'
import { MxpError } from './mxp-error.ts'
import { MxpRegistry } from './registry.ts'
import { RegistryError } from './registry-error.ts'
import { SourceLimits } from './source-limits.ts'

/** Questions that may wait for the store; further ones are answered at once that the hub is busy. */
const PENDING_MAX = 1_000
/** What the system is asked to keep of datagrams that came at once, as when all agents of a machine start: what it has no room for is lost. */
const RECEIVE_BUFFER_BYTES = 4_194_304
/** Bytes of datagrams that may wait for their address's turn; what comes beyond is dropped. */
const WAITING_MAX_BYTES = 4_194_304
/** What a datagram costs that waits, besides its bytes. */
const WAITING_COST_BYTES = 512
/** Milliseconds after a question came in which it is answered, whether the store has answered or not: its client waits 5 s. */
const ANSWER_MAX_MS = 4_000

/**
 * The MXP registry on a UDP port: one datagram, one message; the answer goes to where the datagram came from. Nothing is sent for a datagram that is no
 * MXP message, whose sender may be forged and whose client could make nothing of it.
 */
export class UdpDoor {
  readonly #socket: Socket
  readonly #registry: MxpRegistry
  readonly #limits: SourceLimits
  readonly #log: Log
  readonly #timers = new Set<NodeJS.Timeout>()
  #waitingBytes = 0
  #pending = 0
  #closed = false

  private constructor(hub: Hub, socket: Socket) {
    this.#socket = socket
    this.#registry = new MxpRegistry(hub)
    this.#limits = new SourceLimits(hub.settings.mxpUdpRatePerSecond)
    this.#log = hub.log
    socket.on('message', (datagram, from) => this.#onDatagram(datagram, from))
    socket.on('error', (error) => this.#log.error({ err: error }, 'mxp socket failed'))
    socket.once('close', () => (this.#closed = true))
  }

  /** @throws Error where the port is taken */
  static async open(hub: Hub, host: string, port: number): Promise<UdpDoor> {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    socket.bind(port, host)
    await once(socket, 'listening')
    try {
      socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
    } catch (error) {
      // Some systems give as much as they may instead, others nothing.
      hub.log.debug({ err: error }, 'mxp socket keeps its receive buffer')
    }
    return new UdpDoor(hub, socket)
  }

  get port(): number {
    return this.#socket.address().port
  }

  #onDatagram(datagram: Buffer, from: RemoteInfo): void {
    const waitMs = this.#limits.waitFor(from.address, performance.now())
    if (waitMs === 0) this.#work(datagram, from, ANSWER_MAX_MS)
    else if (waitMs !== null) this.#wait(datagram, from, waitMs)
  }

  /** Until its address has a turn. */
  #wait(datagram: Buffer, from: RemoteInfo, waitMs: number): void {
    const bytes = datagram.length + WAITING_COST_BYTES
    if (this.#waitingBytes + bytes > WAITING_MAX_BYTES) return
    this.#waitingBytes += bytes
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#waitingBytes -= bytes
      this.#work(datagram, from, ANSWER_MAX_MS - waitMs)
    }, waitMs)
    this.#timers.add(timer)
  }

  #work(datagram: Buffer, from: RemoteInfo, leftMs: number): void {
    let message: MxpMessage
    try {
      message = decode(datagram)
    } catch (error) {
      if (!(error instanceof MxpError)) throw error
      this.#log.debug({ from: from.address, verdict: error.verdict }, 'mxp datagram dropped')
      return
    }
    if (this.#pending >= PENDING_MAX) {
      const busy = new RegistryError('BUSY', 'this hub waits for its store; try again')
      this.#send(this.#registry.refuse(message, busy), from)
      return
    }
    void this.#answer(message, from, leftMs)
  }

  async #answer(message: MxpMessage, from: RemoteInfo, leftMs: number): Promise<void> {
    let late = false
    const timer = setTimeout(() => {
      late = true
      const slow = new RegistryError('REDIS', 'the store has not answered yet; try again')
      this.#send(this.#registry.refuse(message, slow), from)
    }, leftMs)
    this.#timers.add(timer)
    this.#pending++
    const answer = await this.#registry.answer(message)
    this.#pending--
    clearTimeout(timer)
    this.#timers.delete(timer)
    if (answer && !late) this.#send(answer, from)
  }

  #send(answer: MxpMessage, { address, port }: RemoteInfo): void {
    if (this.#closed) return
    const bytes = encode(answer)
    this.#limits.sent(address, bytes.length)
    this.#socket.send(bytes, port, address, (error) => {
      if (error) this.#log.debug({ err: error, to: address }, 'mxp answer not sent')
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    for (const timer of this.#timers) clearTimeout(timer)
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }
}
