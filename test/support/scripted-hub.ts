import type { AddressInfo } from 'node:net'
import type { IncomingMessage } from 'node:http'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'
import type { AgentOptions, Client, ConnectOptions } from '../../client/node.ts'
import { connect } from '../../client/node.ts'
import type { AgentInfo } from '../../protocol/agent.ts'
import type { Welcome } from '../../protocol/replies.ts'

export type Frame = Readonly<Record<string, unknown>> & { readonly type: string }

/** Items that somebody will ask for, in order. */
class Inbox<T> {
  readonly #items: T[] = []
  readonly #waiters: { match: (item: T) => boolean; resolve: (item: T) => void }[] = []

  put(item: T): void {
    const index = this.#waiters.findIndex(({ match }) => match(item))
    if (index === -1) this.#items.push(item)
    else this.#waiters.splice(index, 1)[0]?.resolve(item)
  }

  /** The first item that matches, now or when it comes; those before it stay. */
  take(match: (item: T) => boolean = () => true): Promise<T> {
    const index = this.#items.findIndex(match)
    if (index !== -1) return Promise.resolve(this.#items.splice(index, 1)[0] as T)
    return new Promise((resolve) => this.#waiters.push({ match, resolve }))
  }

  get items(): readonly T[] {
    return this.#items
  }
}

/** An AgentInfo as a hub would tell it. */
export function agentInfo(fields: Partial<AgentInfo> = {}): AgentInfo {
  return {
    id: 'a1',
    name: 'tester',
    capabilities: ['nlp'],
    version: null,
    profiles: [],
    groups: [],
    address: null,
    metadata: {},
    concurrency: 1,
    status: 'online',
    statusReason: null,
    connected: true,
    metrics: {},
    isLeader: false,
    transport: 'websocket',
    hub: 'hub-1',
    registeredAt: '2026-11-21T12:00:00.000Z',
    lastHeartbeat: '2026-11-21T12:00:00.000Z',
    revision: 1,
    ...fields,
  }
}

/** A welcome as a hub would give it. */
export function welcomeFrame(fields: Partial<Welcome> = {}): Welcome {
  return {
    type: 'welcome',
    ref: 'hello',
    protocol: 1,
    hub: 'hub-1',
    namespace: 'default',
    session: 'session-1',
    resumed: true,
    agent: agentInfo(),
    leader: { agentId: null, term: 0 },
    revision: 1,
    pending: 0,
    work: [],
    time: '2026-11-21T12:00:00.000Z',
    expiresAt: null,
    heartbeat: { intervalMs: 20_000, timeoutMs: 10_000 },
    limits: { maxMessageBytes: 1_048_576, maxPayloadBytes: 1_044_480, window: 256, ackTimeoutMs: 60_000 },
    ...fields,
  }
}

/** A message frame as a hub would push it. */
export function messageFrame(id: string, fields: Readonly<Record<string, unknown>> = {}): Frame {
  return {
    type: 'message',
    id,
    from: 'a2',
    via: 'direct',
    messageType: 'notification',
    payload: id,
    createdAt: '2026-11-21T12:00:00.000Z',
    attempt: 1,
    ...fields,
  }
}

/** The hub's end of one socket, moved by the test. */
export class ScriptedSocket {
  readonly request: IncomingMessage
  readonly closed: Promise<{ code: number; reason: string }>
  /** Each WebSocket message as it came. */
  readonly texts: string[] = []
  readonly #socket: WebSocket
  readonly #frames = new Inbox<Frame>()

  constructor(socket: WebSocket, request: IncomingMessage) {
    this.#socket = socket
    this.request = request
    socket.on('message', (data) => {
      const text = (data as Buffer).toString()
      this.texts.push(text)
      for (const line of text.split('\n')) this.#frames.put(JSON.parse(line) as Frame)
    })
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  /** The client's next frame (of a type), now or when it comes. */
  next(type?: string): Promise<Frame> {
    return this.#frames.take((frame) => type === undefined || frame.type === type)
  }

  /** Frames that nobody took yet. */
  get unread(): readonly Frame[] {
    return this.#frames.items
  }

  send(...frames: object[]): void {
    this.#socket.send(frames.map((frame) => JSON.stringify(frame)).join('\n'))
  }

  raw(data: string | Buffer): void {
    this.#socket.send(data)
  }

  /** Waits for `hello` and answers it; resolves with the `hello`. */
  async welcome(fields: Partial<Welcome> = {}): Promise<Frame> {
    const hello = await this.next('hello')
    this.send(welcomeFrame({ ref: hello['ref'] as string, ...fields }))
    return hello
  }

  ok(frame: Frame, result: unknown = {}): void {
    this.send({ type: 'ok', ref: frame['ref'], result })
  }

  error(frame: Frame, code: string, retryable = false, retryAfterMs: number | null = null): void {
    this.send({ type: 'error', ref: frame['ref'], error: { code, message: code, retryable, retryAfterMs } })
  }

  /** Waits until the client has read all that was sent to it and written what it had to say about that. */
  async settled(): Promise<void> {
    this.send(messageFrame('barrier', { messageType: 'response', correlationId: 'barrier' }))
    await this.#frames.take(({ type, ids }) => type === 'ack' && (ids as string[]).includes('barrier'))
  }

  close(code: number, reason = ''): void {
    this.#socket.close(code, reason)
  }

  /** Cuts the connection without a close frame. */
  cut(): void {
    this.#socket.terminate()
  }
}

/** A hub that does only what the test tells it to, on a real socket. */
export class ScriptedHub {
  readonly url: string
  readonly #server: WebSocketServer
  readonly #sockets = new Inbox<ScriptedSocket>()
  readonly #clients: Client[] = []

  constructor(server: WebSocketServer) {
    this.#server = server
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/mesh`
    server.on('connection', (socket, request) => this.#sockets.put(new ScriptedSocket(socket, request)))
  }

  /** The next socket that connects. */
  accept(): Promise<ScriptedSocket> {
    return this.#sockets.take()
  }

  /** A client that this hub has welcomed, an agent, with the hub's end of its socket. Closed with the hub. */
  join(options: Partial<AgentOptions> = {}): Promise<[Client, ScriptedSocket]> {
    return this.#join({
      url: this.url,
      name: 'tester',
      capabilities: ['nlp'],
      closeTimeoutMs: 20,
      ...options,
    })
  }

  /** Like `join`, an observer. */
  observe(): Promise<[Client, ScriptedSocket]> {
    return this.#join({ url: this.url, observer: true, closeTimeoutMs: 20 })
  }

  async #join(options: ConnectOptions): Promise<[Client, ScriptedSocket]> {
    const connecting = connect(options)
    const socket = await this.accept()
    await socket.welcome(options.observer === true ? { agent: null, session: null } : {})
    const client = await connecting
    this.#clients.push(client)
    return [client, socket]
  }

  /** Sockets that are open now. */
  get open(): number {
    return this.#server.clients.size
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
    for (const socket of this.#server.clients) socket.terminate()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Starts a scripted hub on a free port. */
export async function startScriptedHub(): Promise<ScriptedHub> {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: (protocols) => (protocols.has('meshwire.v1') ? 'meshwire.v1' : false),
  })
  await new Promise((resolve) => server.once('listening', resolve))
  return new ScriptedHub(server)
}
