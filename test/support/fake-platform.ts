import type { AgentOptions, Client } from '../../client/api.ts'
import { turnScope } from '../../client/scope.ts'
import type { Platform, Socket, SocketListener } from '../../client/socket.ts'
import type { Welcome } from '../../protocol/replies.ts'
import { welcomeFrame } from './scripted-hub.ts'
import type { Frame } from './scripted-hub.ts'
import { vi } from 'vitest'
import { connectOn } from '../../client/endpoint.ts'

/** A socket without a network: the test plays the hub, at once and with whatever clock it likes. */
export class FakeSocket implements Socket {
  readonly url: string
  readonly token: string | null
  readonly listener: SocketListener
  readonly frames: Frame[] = []
  closedWith: number | null = null
  abandoned = false

  constructor(url: string, token: string | null, listener: SocketListener) {
    this.url = url
    this.token = token
    this.listener = listener
  }

  send(text: string): void {
    for (const line of text.split('\n')) this.frames.push(JSON.parse(line) as Frame)
  }

  /** The test answers with `listener.closed`. */
  close(code: number): void {
    this.closedWith = code
  }

  abandon(): void {
    this.abandoned = true
  }

  /** What the client wrote since the last call. */
  wrote(): Frame[] {
    return this.frames.splice(0)
  }

  push(...frames: object[]): void {
    this.listener.text(frames.map((frame) => JSON.stringify(frame)).join('\n'))
  }

  welcome(fields: Partial<Welcome> = {}): void {
    this.listener.opened()
    this.push(welcomeFrame(fields))
  }
}

export class FakePlatform implements Platform {
  readonly tokenInHello: boolean
  readonly scope = turnScope()
  readonly sockets: FakeSocket[] = []
  readonly #wakers = new Set<Parameters<Platform['onWake']>>()

  constructor(tokenInHello = false) {
    this.tokenInHello = tokenInHello
  }

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1)
    if (socket === undefined) throw new Error('no socket was opened yet')
    return socket
  }

  /** Those who wait for the machine to wake up. */
  get wakers(): number {
    return this.#wakers.size
  }

  open(url: string, token: string | null, listener: SocketListener): FakeSocket {
    const socket = new FakeSocket(url, token, listener)
    this.sockets.push(socket)
    return socket
  }

  defer(task: () => void): void {
    queueMicrotask(task)
  }

  onWake(...listeners: Parameters<Platform['onWake']>): () => void {
    this.#wakers.add(listeners)
    return () => this.#wakers.delete(listeners)
  }

  wake(atOnce = false): void {
    for (const [woke] of this.#wakers) woke(atOnce)
  }

  /** Like a page that goes to the back/forward cache. */
  putAway(): void {
    for (const [, away] of this.#wakers) away()
  }
}

/** Where the tests' agent connects to, and as what. */
export const AGENT = { url: 'ws://hub/mesh', name: 'tester', capabilities: ['nlp'] } as const

/** Lets promises and timers of `ms` milliseconds run. */
export const pass = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

/** A client that the hub has welcomed; what it wrote for that is read. */
export async function connected(
  platform: FakePlatform,
  options: Partial<AgentOptions> = {},
): Promise<Client> {
  const connecting = connectOn(platform, { ...AGENT, ...options })
  await pass()
  platform.socket.welcome()
  const client = await connecting
  platform.socket.wrote()
  return client
}
