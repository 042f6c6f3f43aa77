import { WebSocket } from 'ws'

/** What a part of the bench does with the frames that a peer gets. */
export interface Receiver {
  /** A message of `sender`, its `number`th; {@link body} made its payload. */
  message(sender: number, number: number, now: number): void
  /** The answer to request `ref`. */
  ok(peer: Peer, ref: number, now: number): void
  error(peer: Peer, ref: number, text: string): void
}

// Well below the 1 MiB of a WebSocket message.
const JOINED_CHARS = 256 * 1024
const ACK_IDS = 1000

const pads = new Map<number, string>()

/** A payload's text of `length` characters: sender, number, and filling without quotes or backslashes. */
export function body(sender: number, number: number, length: number): string {
  const head = `${sender} ${number} `
  let pad = pads.get(length - head.length)
  if (pad === undefined) {
    pad = 'x'.repeat(Math.max(0, length - head.length))
    pads.set(length - head.length, pad)
  }
  return head + pad
}

let dirty: Peer[] = []

function flushAll(): void {
  const peers = dirty
  dirty = []
  for (const peer of peers) peer.flush()
}

/**
 * One agent of the load generator: a bare socket, frames written and read as text. All that it has to say in one turn of the
 * event loop goes out as one WebSocket message, and what came in is searched rather than parsed, so that the server under
 * test is busier than its tester.
 */
export class Peer {
  readonly index: number
  readonly id: string
  readonly #socket: WebSocket
  readonly #receiver: Receiver
  #out = ''
  #ackIds = ''
  #ackCount = 0
  #isDirty = false
  #welcomed: { resolve: (now: number) => void; reject: (error: Error) => void } | null = null

  constructor(url: string, index: number, receiver: Receiver) {
    this.index = index
    this.id = `agent-${index}`
    this.#receiver = receiver
    this.#socket = new WebSocket(url, 'meshwire.v1', { perMessageDeflate: false, skipUTF8Validation: true })
    this.#socket.on('message', (data: Buffer) => this.#read(data.toString('latin1')))
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', (code, reason) =>
      this.#fail(new Error(`${this.id} was closed: ${code} ${reason.toString()}`)),
    )
  }

  /** Resolves when the socket is open. */
  async open(): Promise<void> {
    if (this.#socket.readyState === WebSocket.OPEN) return
    await new Promise<void>((resolve, reject) => {
      this.#welcomed = { resolve: () => resolve(), reject }
      this.#socket.once('open', () => {
        this.#welcomed = null
        resolve()
      })
    })
  }

  /** Registers; resolves with the time of the `welcome`. */
  async hello(agent: Readonly<Record<string, unknown>> = {}): Promise<number> {
    const welcomed = new Promise<number>((resolve, reject) => {
      this.#welcomed = { resolve, reject }
    })
    this.#socket.send(
      JSON.stringify({
        type: 'hello',
        ref: 0,
        protocol: 1,
        producer: `bench-${this.index}`,
        window: 1024,
        agent: { id: this.id, name: this.id, capabilities: ['bench'], ...agent },
      }),
    )
    return await welcomed
  }

  send(frame: string): void {
    this.#out = this.#out === '' ? frame : `${this.#out}\n${frame}`
    this.#touch()
    if (this.#out.length > JOINED_CHARS) this.flush()
  }

  /** Writes what waits. */
  flush(): void {
    this.#isDirty = false
    if (this.#ackCount > 0) this.#closeAck()
    if (this.#out === '') return
    this.#socket.send(this.#out)
    this.#out = ''
  }

  /** Goes without a word. */
  terminate(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.terminate()
  }

  #ack(id: string): void {
    this.#ackIds = this.#ackCount === 0 ? id : `${this.#ackIds}","${id}`
    if (++this.#ackCount === ACK_IDS) this.#closeAck()
    this.#touch()
  }

  #closeAck(): void {
    const frame = `{"type":"ack","ids":["${this.#ackIds}"]}`
    this.#ackIds = ''
    this.#ackCount = 0
    this.#out = this.#out === '' ? frame : `${this.#out}\n${frame}`
  }

  #touch(): void {
    if (this.#isDirty) return
    this.#isDirty = true
    if (dirty.push(this) === 1) setImmediate(flushAll)
  }

  #fail(error: Error): void {
    const waiting = this.#welcomed
    this.#welcomed = null
    if (waiting === null) this.#receiver.error(this, 0, error.message)
    else waiting.reject(error)
  }

  #read(text: string): void {
    const now = performance.now()
    const { length } = text
    for (let start = 0; start < length;) {
      let end = text.indexOf('\n', start)
      if (end === -1) end = length
      this.#readFrame(text, start, end, now)
      start = end + 1
    }
  }

  #readFrame(text: string, start: number, end: number, now: number): void {
    if (text.startsWith('{"type":"message"', start)) {
      const idAt = text.indexOf('"id":"', start) + 6
      this.#ack(text.slice(idAt, text.indexOf('"', idAt)))
      let at = text.indexOf('"payload":"', idAt) + 11
      let sender = 0
      for (let code = text.charCodeAt(at); code !== 32; code = text.charCodeAt(++at))
        sender = sender * 10 + code - 48
      at++
      let number = 0
      for (let code = text.charCodeAt(at); code !== 32; code = text.charCodeAt(++at))
        number = number * 10 + code - 48
      this.#receiver.message(sender, number, now)
    } else if (text.startsWith('{"type":"ok"', start)) {
      this.#receiver.ok(this, Number.parseInt(text.slice(text.indexOf('"ref":', start) + 6, end), 10), now)
    } else {
      this.#readRare(text.slice(start, end), now)
    }
  }

  #readRare(line: string, now: number): void {
    const frame = JSON.parse(line) as { readonly type: string; readonly ref?: number }
    if (frame.type === 'ping') {
      this.send('{"type":"pong"}')
    } else if (frame.type === 'welcome') {
      this.#welcomed?.resolve(now)
      this.#welcomed = null
    } else if (frame.type === 'error') {
      if (this.#welcomed === null) this.#receiver.error(this, frame.ref ?? 0, line)
      else this.#welcomed.reject(new Error(line))
      this.#welcomed = null
    }
  }
}

/** Opens and registers peers `from` to `to - 1`, at most 32 at a time; `agent`: fields of their registration. */
export async function connectPeers(
  url: string,
  from: number,
  to: number,
  receiver: Receiver,
  agent: Readonly<Record<string, unknown>> = {},
): Promise<Peer[]> {
  const peers: Peer[] = []
  let next = from
  const connect = async (): Promise<void> => {
    while (next < to) {
      const peer = new Peer(url, next++, receiver)
      peers[peer.index - from] = peer
      await peer.open()
      await peer.hello(agent)
    }
  }
  await Promise.all(Array.from({ length: 32 }, connect))
  return peers
}
