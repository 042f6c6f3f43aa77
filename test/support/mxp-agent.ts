import { randomUUID } from 'node:crypto'
import { WebSocket } from 'ws'
import { decode, encode, MXP_FLAGS, type MxpMessage, type MxpType } from '../../src/mxp/index.ts'
import type { HubServer } from '../../src/server.ts'
import type { Closed } from './agent.ts'
import { jsonOf, message } from './mxp-udp.ts'

const WAIT_MS = 5_000

/** One message as tests look at it. */
export interface Came {
  readonly type: MxpType
  readonly flags: number
  readonly messageId: bigint
  readonly traceId: bigint
  /** The payload; empty where there is none. */
  readonly body: Record<string, unknown>
}

interface Waiter {
  readonly match: (came: Came) => boolean
  readonly resolve: (came: Came) => void
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? String(one) : one))

/** A WebSocket with the subprotocol `mxp.v1`, message by message. */
export class MxpSocket implements AsyncDisposable {
  readonly webSocket: WebSocket
  readonly closed: Promise<Closed>
  waiting: Came[] = []
  #waiters: Waiter[] = []

  constructor(webSocket: WebSocket) {
    this.webSocket = webSocket
    this.closed = new Promise((resolve) => {
      webSocket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    webSocket.on('message', (data) => this.#onMessage(decode(data as Buffer)))
    webSocket.on('error', () => undefined)
  }

  static async open(
    hub: HubServer | string,
    protocols: readonly string[] = ['mxp.v1'],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<MxpSocket> {
    const url = typeof hub === 'string' ? hub : hub.url
    const socket = new MxpSocket(new WebSocket(url, [...protocols], { perMessageDeflate: false, headers }))
    await new Promise<void>((resolve, reject) => {
      socket.webSocket.once('open', resolve)
      socket.webSocket.once('error', reject)
    })
    return socket
  }

  #onMessage(one: MxpMessage): void {
    const { type, flags, messageId, traceId, payload } = one
    const came = { type, flags, messageId, traceId, body: payload.length > 0 ? jsonOf(one) : {} }
    const index = this.#waiters.findIndex(({ match }) => match(came))
    if (index === -1) this.waiting.push(came)
    else this.#waiters.splice(index, 1)[0]?.resolve(came)
  }

  raw(bytes: Uint8Array | string): void {
    this.webSocket.send(bytes)
  }

  /** Sends a message with a JSON payload; answers what was sent. */
  send(type: MxpType, payload: unknown, given: Partial<MxpMessage> = {}): MxpMessage {
    const one = message(type, payload, given)
    this.raw(encode(one))
    return one
  }

  /** The first message that matches, now or when it comes; those before it stay. */
  async nextWhere(match: (came: Came) => boolean, what: string, waitMs = WAIT_MS): Promise<Came> {
    const index = this.waiting.findIndex(match)
    if (index !== -1) return this.waiting.splice(index, 1)[0] as Came
    const failure = new Error()
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        match,
        resolve: (came) => {
          clearTimeout(timer)
          resolve(came)
        },
      }
      const fail = (why: string): void => {
        if (!this.#waiters.includes(waiter)) return
        clearTimeout(timer)
        this.#waiters = this.#waiters.filter((one) => one !== waiter)
        failure.message = `no ${what} ${why}; what came: ${this.waiting.map(show).join('\n  ') || 'nothing'}`
        reject(failure)
      }
      const timer = setTimeout(() => fail(`in ${waitMs} ms`), waitMs)
      this.#waiters.push(waiter)
      void this.closed.then(({ code, reason }) => fail(`before the close ${code} ${reason}`))
    })
  }

  next(type: MxpType, match: (came: Came) => boolean = () => true, waitMs = WAIT_MS): Promise<Came> {
    return this.nextWhere((came) => came.type === type && match(came), type, waitMs)
  }

  /** What answers a message, by its id. */
  answerTo({ messageId }: { readonly messageId: bigint }, type?: MxpType): Promise<Came> {
    return this.nextWhere(
      (came) => came.messageId === messageId && (type === undefined || came.type === type),
      `${type ?? 'answer'} to ${messageId}`,
    )
  }

  ask(type: MxpType, payload: unknown, given: Partial<MxpMessage> = {}): Promise<Came> {
    return this.answerTo(this.send(type, payload, given))
  }

  /** Registers. @throws Error where it is refused */
  async register(agent: Record<string, unknown> = {}): Promise<Came> {
    const id = typeof agent.id === 'string' ? agent.id : randomUUID()
    const answer = await this.ask('AgentRegister', {
      id,
      name: `mxp-${id}`,
      capabilities: ['nlp'],
      ...agent,
    })
    if (answer.type !== 'Response')
      throw new Error(`${String(answer.body.code)}: ${String(answer.body.error)}`)
    return answer
  }

  /** Answers a Call. */
  respond(call: Came, payload: unknown, flags = 0): void {
    const { messageId, traceId } = call
    this.send('Response', { payload }, { messageId, traceId, flags })
  }

  /** Settles what was pushed. */
  ack({ messageId, traceId }: Came): void {
    this.send('Ack', undefined, { messageId, traceId })
  }

  /** Resolves when the hub has worked on all that was sent before. */
  async roundTrip(agentId: string): Promise<void> {
    await this.ask('AgentHeartbeat', { agent_id: agentId })
  }

  async cut(): Promise<void> {
    this.webSocket.terminate()
    await this.closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut()
  }
}

/** An agent at the gateway, registered; `id` is also the end of its name. */
export async function connectMxp(
  hub: HubServer | string,
  agent: Record<string, unknown> = {},
): Promise<MxpSocket & { readonly welcome: Came }> {
  const socket = await MxpSocket.open(hub)
  try {
    return Object.assign(socket, { welcome: await socket.register(agent) })
  } catch (error) {
    await socket.cut()
    throw error
  }
}

export { MXP_FLAGS }
