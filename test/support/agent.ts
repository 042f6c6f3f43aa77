import { WebSocket } from 'ws'
import type { AgentFields } from '../../protocol/agent.ts'
import { type ErrorBody, MeshError } from '../../protocol/errors.ts'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import type { Push } from '../../protocol/pushes.ts'
import type { Reply, Welcome } from '../../protocol/replies.ts'

/** Every frame that a hub may send. */
export type Incoming = Push | Reply
export type IncomingOf<Type extends Incoming['type']> = Extract<Incoming, { readonly type: Type }>
type Match<Frame> = (frame: Frame) => boolean
export interface Closed {
  readonly code: number
  readonly reason: string
}

/** How long a test waits for a frame before it fails with what came instead. */
const WAIT_MS = 5_000

export interface SocketOptions {
  /** Subprotocols to offer; default `meshwire.v1`. */
  readonly protocols?: readonly string[]
  readonly headers?: Readonly<Record<string, string>>
  /** Answers each `ping` by itself, unseen by `next`; default true. */
  readonly autoPong?: boolean
}

/** Fields of `hello`, of its `agent` and of the socket, side by side. */
export interface AgentOptions extends SocketOptions, AgentFields {
  readonly namespace?: string
  readonly producer?: string
  readonly session?: string | null
  readonly window?: number
  /** Further fields of the `hello` frame, which win. */
  readonly hello?: Readonly<Record<string, unknown>>
}

interface Waiter {
  readonly match: Match<Incoming>
  readonly resolve: (frame: Incoming) => void
}

const brief = (frame: unknown): string => {
  const text = JSON.stringify(frame)
  return text.length > 160 ? `${text.slice(0, 160)}…` : text
}

/** One WebSocket to a hub, frame by frame, without a client in between. */
export class TestSocket {
  readonly webSocket: WebSocket
  /** Resolves when the connection is over. */
  readonly closed: Promise<Closed>
  /** Every WebSocket text message as it came. */
  readonly texts: string[] = []
  #waiting: Incoming[] = []
  #waiters: Waiter[] = []
  #refs = 0
  readonly #autoPong: boolean

  constructor(webSocket: WebSocket, autoPong: boolean) {
    this.webSocket = webSocket
    this.#autoPong = autoPong
    this.closed = new Promise((resolve) => {
      webSocket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    webSocket.on('message', (data) => this.#onText((data as Buffer).toString()))
    // A failed socket closes too, and `closed` says so.
    webSocket.on('error', () => undefined)
  }

  #onText(text: string): void {
    this.texts.push(text)
    for (const line of text.split('\n')) if (line !== '') this.#onFrame(JSON.parse(line) as Incoming)
  }

  #onFrame(frame: Incoming): void {
    if (frame.type === 'ping' && this.#autoPong) {
      this.send({ type: 'pong' })
      return
    }
    const index = this.#waiters.findIndex(({ match }) => match(frame))
    if (index === -1) this.#waiting.push(frame)
    else this.#waiters.splice(index, 1)[0]?.resolve(frame)
  }

  /** What came and nobody has asked for yet, oldest first. */
  get waiting(): readonly Incoming[] {
    return this.#waiting
  }

  /** Of what came and nobody has asked for yet, the frames of one type; they stay. */
  waitingOf<Type extends Incoming['type']>(type: Type): IncomingOf<Type>[] {
    return this.#waiting.filter((frame): frame is IncomingOf<Type> => frame.type === type)
  }

  /** Takes what came and nobody has asked for yet. */
  takeWaiting(): Incoming[] {
    return this.#waiting.splice(0)
  }

  /** One frame. */
  send(frame: object): void {
    this.raw(JSON.stringify(frame))
  }

  /** One WebSocket message as it is; a Buffer as a binary one. */
  raw(data: string | Buffer): void {
    this.webSocket.send(data)
  }

  /** The first frame of a type, and that matches; now or when it comes. Those before it stay. */
  async next<Type extends Incoming['type']>(
    type: Type,
    match: Match<IncomingOf<Type>> = () => true,
    timeoutMs = WAIT_MS,
  ): Promise<IncomingOf<Type>> {
    const frame = await this.nextWhere(
      (one) => one.type === type && match(one as IncomingOf<Type>),
      type,
      timeoutMs,
    )
    return frame as IncomingOf<Type>
  }

  /** The first frame that matches; `what` names it where it does not come. */
  async nextWhere(match: Match<Incoming>, what = match.toString(), timeoutMs = WAIT_MS): Promise<Incoming> {
    const index = this.#waiting.findIndex(match)
    if (index !== -1) return this.#waiting.splice(index, 1)[0] as Incoming
    // The stack of who waits says more than that of a timer.
    const failure = new Error()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(`in ${timeoutMs} ms`), timeoutMs)
      const waiter: Waiter = {
        match,
        resolve: (frame) => {
          clearTimeout(timer)
          resolve(frame)
        },
      }
      const fail = (why: string): void => {
        if (!this.#waiters.includes(waiter)) return
        clearTimeout(timer)
        this.#waiters = this.#waiters.filter((one) => one !== waiter)
        const came = this.#waiting.slice(-20).map(brief).join('\n  ')
        failure.message = `no frame "${what}" ${why}; what came and nobody asked for:\n  ${came || 'nothing'}`
        reject(failure)
      }
      this.#waiters.push(waiter)
      void this.closed.then(({ code, reason }) => fail(`before the close ${code} ${reason}`))
    })
  }

  /** A command's answer, whichever it is; a `ref` is made where there is none. */
  async answer(frame: object): Promise<Reply> {
    const ref = 'ref' in frame ? frame.ref : `r${(this.#refs += 1)}`
    this.send({ ...frame, ref })
    const isAnswer = (one: Incoming): boolean => 'ref' in one && one.ref === ref
    return (await this.nextWhere(isAnswer, `answer to ${brief({ ...frame, ref })}`)) as Reply
  }

  /** The result of a command that is answered `ok`. @throws MeshError where it is refused */
  async request<Result = unknown>(frame: object): Promise<Result> {
    const answer = await this.answer(frame)
    if (answer.type === 'error') throw MeshError.fromBody(answer.error)
    if (answer.type !== 'ok') throw new Error(`expected ok, not ${brief(answer)}`)
    return answer.result as Result
  }

  /** The error of a command that is refused. */
  async refusal(frame: object): Promise<ErrorBody> {
    const answer = await this.answer(frame)
    if (answer.type !== 'error') throw new Error(`expected an error, not ${brief(answer)}`)
    return answer.error
  }

  /** `hello`; fields of `agent` are asked for by `agent`. */
  async hello(fields: object = {}): Promise<Welcome> {
    const answer = await this.answer({ type: 'hello', protocol: 1, ...fields })
    if (answer.type === 'error') throw MeshError.fromBody(answer.error)
    if (answer.type !== 'welcome') throw new Error(`expected welcome, not ${brief(answer)}`)
    return answer
  }

  /** Resolves when the hub has worked on all that was sent before and all that it sent before has come. */
  async roundTrip(): Promise<void> {
    this.send({ type: 'ping' })
    await this.next('pong')
  }

  /** Reads nothing any more, like a machine that hangs; its kernel still takes some. */
  pause(): void {
    this.webSocket.pause()
  }

  resume(): void {
    this.webSocket.resume()
  }

  /** Gone without a close frame. */
  async cut(): Promise<void> {
    this.webSocket.resume()
    this.webSocket.terminate()
    await this.closed
  }

  /** Closes in order, with 1000. */
  async close(): Promise<Closed> {
    this.webSocket.close(1000)
    return this.closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut()
  }
}

/** A registered agent on a connection of its own. */
export class TestAgent extends TestSocket {
  #welcome: Welcome | null = null

  async register(hello: object): Promise<this> {
    this.#welcome = await this.hello(hello)
    return this
  }

  get welcome(): Welcome {
    if (!this.#welcome) throw new Error('not welcomed')
    return this.#welcome
  }

  get id(): string {
    const { agent } = this.welcome
    if (!agent) throw new Error('an observer has no id')
    return agent.id
  }

  /** The proof that this agent id is its own. */
  get session(): string {
    return this.welcome.session ?? ''
  }
}

type Target = string | { readonly url: string }

function open(target: Target, { protocols = [SUBPROTOCOL], headers = {} }: SocketOptions): WebSocket {
  const url = typeof target === 'string' ? target : target.url
  return new WebSocket(url, [...protocols], { headers, perMessageDeflate: false })
}

/** Resolves when it is open. @throws Error with the HTTP status where the upgrade is refused */
async function opened<Socket extends TestSocket>(socket: Socket): Promise<Socket> {
  await new Promise<void>((resolve, reject) => {
    socket.webSocket.once('open', resolve)
    socket.webSocket.once('error', reject)
  })
  return socket
}

/** A WebSocket to `hub` that has said nothing yet. */
export async function openSocket(hub: Target, options: SocketOptions = {}): Promise<TestSocket> {
  return opened(new TestSocket(open(hub, options), options.autoPong ?? true))
}

/**
 * An agent, welcomed. Without `id` the hub makes one; without `name` it is `agent-<id>`; without `capabilities` it has `nlp`.
 * @throws MeshError where `hello` is refused
 */
export async function connectAgent(hub: Target, options: AgentOptions = {}): Promise<TestAgent> {
  const { protocols, headers, autoPong, namespace, producer, session, window, hello, ...fields } = options
  const socket = new TestAgent(
    open(hub, { ...(protocols && { protocols }), ...(headers && { headers }) }),
    autoPong ?? true,
  )
  await opened(socket)
  const name = fields.name ?? `agent-${fields.id ?? Math.random().toString(36).slice(2)}`
  const agent = { capabilities: ['nlp'], ...fields, name }
  try {
    return await socket.register({ namespace, producer, session, window, agent, ...hello })
  } catch (error) {
    await socket.cut()
    throw error
  }
}

/** An observer connection, welcomed. */
export async function connectObserver(hub: Target, namespace = 'default'): Promise<TestAgent> {
  const socket = await opened(new TestAgent(open(hub, {}), true))
  return socket.register({ namespace })
}
