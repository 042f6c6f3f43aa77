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

/**
 * The MXP registry on a UDP port: one datagram, one message; the answer goes to where the datagram came from. Nothing is sent for a datagram that is no
 * MXP message, whose sender may be forged and whose client could make nothing of it.
 */
export class UdpDoor {
  readonly #socket: Socket
  readonly #registry: MxpRegistry
  readonly #limits: SourceLimits
  readonly #log: Log
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
    return new UdpDoor(hub, socket)
  }

  get port(): number {
    return this.#socket.address().port
  }

  #onDatagram(datagram: Buffer, from: RemoteInfo): void {
    if (!this.#limits.take(from.address, performance.now())) return
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
    this.#pending++
    void this.#registry.answer(message).then((answer) => {
      this.#pending--
      if (answer) this.#send(answer, from)
    })
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
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }
}
