import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { HubServer } from '../../src/server.ts'
import { decode, encode, type MxpMessage, type MxpType } from '../../src/mxp/index.ts'

/** What a client's receive buffer holds: the rest of a longer datagram is cut. */
const RECEIVE_BYTES = 16_384
/** How long the genuine client waits for its answer. */
const WAIT_MS = 5_000

/** A fresh id as the genuine codec draws it. */
export const freshId = (): bigint => randomBytes(8).readBigUInt64LE()

/** A message with a JSON payload; ids are drawn where none are given. */
export function message(type: MxpType, payload: unknown, given: Partial<MxpMessage> = {}): MxpMessage {
  const bytes = new TextEncoder().encode(payload === undefined ? '' : JSON.stringify(payload))
  return { type, flags: 0, messageId: freshId(), traceId: freshId(), payload: bytes, ...given }
}

/** The payload of a message as JSON. */
export function jsonOf({ payload }: MxpMessage): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown>
}

/** A UDP socket on loopback that talks to a hub's MXP registry. */
export class MxpUdp implements AsyncDisposable {
  readonly #socket: Socket
  readonly #port: number
  readonly #host: string
  /** Every datagram that came, in order. */
  readonly datagrams: Buffer[] = []
  #onDatagram: (() => void)[] = []

  private constructor(socket: Socket, port: number, host: string) {
    this.#socket = socket
    this.#port = port
    this.#host = host
    socket.on('message', (datagram) => {
      this.datagrams.push(datagram)
      for (const told of this.#onDatagram.splice(0)) told()
    })
  }

  /** @param host the loopback address that the registry is at */
  static async open(hub: Pick<HubServer, 'mxpUdpPort'>, host = '127.0.0.1'): Promise<MxpUdp> {
    if (hub.mxpUdpPort === null) throw new Error('this hub has no MXP registry')
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    socket.bind(0, host)
    await once(socket, 'listening')
    return new MxpUdp(socket, hub.mxpUdpPort, host)
  }

  raw(bytes: Uint8Array): void {
    this.#socket.send(bytes, this.#port, this.#host)
  }

  send(one: MxpMessage): void {
    this.raw(encode(one))
  }

  /** The next datagram, decoded; what is longer than a client's buffer is cut first. */
  async next(waitMs = WAIT_MS): Promise<MxpMessage> {
    if (this.datagrams.length === 0) {
      let late: NodeJS.Timeout | undefined
      await new Promise<void>((resolve, reject) => {
        late = setTimeout(() => reject(new Error(`no datagram in ${waitMs} ms`)), waitMs)
        this.#onDatagram.push(resolve)
      }).finally(() => clearTimeout(late))
    }
    const datagram = this.datagrams.shift() as Buffer
    return decode(datagram.subarray(0, RECEIVE_BYTES))
  }

  /** Sends, and takes the answer with the same message id, as the genuine client does: others are passed over, an Ack is a failure. */
  async call(one: MxpMessage): Promise<MxpMessage> {
    this.send(one)
    for (;;) {
      const answer = await this.next()
      if (answer.messageId !== one.messageId) continue
      if (answer.type !== 'Response' && answer.type !== 'Error') throw new Error('unexpected message type')
      return answer
    }
  }

  /** The answer's JSON, with its type. */
  async ask(
    type: MxpType,
    payload: unknown,
    flags = 0,
  ): Promise<Record<string, unknown> & { type: MxpType }> {
    const answer = await this.call(message(type, payload, { flags }))
    return { ...jsonOf(answer), type: answer.type }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }
}
