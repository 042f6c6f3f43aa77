import { AsyncLocalStorage } from 'node:async_hooks'
import { WebSocket } from 'ws'
import type { Client } from '../../client/client.ts'
import { connectOn } from '../../client/endpoint.ts'
import type { HandlerRun } from '../../client/handler-run.ts'
import { Nack } from '../../client/node.ts'
import type { Receipt } from '../../protocol/pushes.ts'
import type { ReceivedMessage } from '../../client/message.ts'
import type { Platform, Socket, SocketListener } from '../../client/socket.ts'
import type { StatusEvent } from '../../client/status.ts'
import { MeshError } from '../../protocol/errors.ts'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import type { Dice } from './dice.ts'
import type { Happening } from './history.ts'
import { GROUP, type Participant, type Payload, payloadOf, type Shot, WORK } from './participant.ts'
import type { Recorder } from './recorder.ts'

const DEAD_SOCKET: Socket = { send: () => undefined, close: () => undefined, abandon: () => undefined }

/** Node's sockets, until the process "dies": then nothing goes out or comes in any more. */
class MortalPlatform implements Platform {
  readonly tokenInHello = false
  readonly scope = new AsyncLocalStorage<HandlerRun>()
  readonly #sockets = new Set<WebSocket>()
  dead = false

  open(url: string, _token: string | null, listener: SocketListener): Socket {
    if (this.dead) return DEAD_SOCKET
    const socket = new WebSocket(url, [SUBPROTOCOL], { perMessageDeflate: false })
    this.#sockets.add(socket)
    socket.on('open', () => listener.opened())
    socket.on('message', (data) => listener.text((data as Buffer).toString()))
    // `close` follows.
    socket.on('error', () => undefined)
    socket.on('close', (code, reason) => {
      this.#sockets.delete(socket)
      listener.closed(code, reason.toString())
    })
    const abandon = (): void => {
      this.#sockets.delete(socket)
      socket.removeAllListeners()
      socket.on('error', () => undefined)
      socket.terminate()
    }
    return {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text)
      },
      close: (code, reason) => socket.close(code, reason),
      abandon,
    }
  }

  defer(task: () => void): void {
    setImmediate(task)
  }

  onWake(): () => void {
    return () => undefined
  }

  die(): void {
    this.dead = true
    for (const socket of this.#sockets) {
      socket.removeAllListeners()
      socket.on('error', () => undefined)
      socket.terminate()
    }
  }
}

/** One process of the agent. */
interface Life {
  readonly name: string
  readonly platform: MortalPlatform
  readonly client: Promise<Client>
  readonly abort: AbortController
  session: number
  unanswered: number
}

/** An agent with the bundled client. */
export class BundledAgent implements Participant {
  readonly agent: string
  readonly #urls: readonly string[]
  readonly #recorder: Recorder
  readonly #dice: Dice
  #lives = 0
  #life: Life | null = null
  #keys = 0
  #updates = 0
  #birth: NodeJS.Timeout | undefined

  constructor(agent: string, urls: readonly string[], recorder: Recorder, dice: Dice) {
    this.agent = agent
    this.#urls = urls
    this.#recorder = recorder
    this.#dice = dice
  }

  get unanswered(): number {
    return this.#life?.unanswered ?? 0
  }

  async start(): Promise<void> {
    await this.#begin().client
  }

  #begin(): Life {
    const name = `${this.agent}#${(this.#lives += 1)}`
    const platform = new MortalPlatform()
    const abort = new AbortController()
    this.#recorder.write({ kind: 'joined', client: name, agent: this.agent, handles: 'bundled' })
    const client = connectOn(platform, {
      url: this.#urls,
      id: this.agent,
      name: this.agent,
      capabilities: [WORK],
      groups: [GROUP],
      concurrency: 4,
      window: 64,
      redeliveryDelayMs: 100,
      connectTimeoutMs: 3_000,
      closeTimeoutMs: 1_000,
      signal: abort.signal,
      onStatus: (status) => this.#onStatus(life, status),
    })
    const life: Life = { name, platform, client, abort, session: 0, unanswered: 0 }
    this.#life = life
    client.then(
      (one) => {
        one.onMessage<Payload>((message) => this.#handle(life, message))
        // Replies that nobody waits for go to no handler but their own.
        one.onMessage<Payload>('response', (message) => this.#handle(life, message))
        void one.closed.then((error) => error && this.#ended(life, error))
      },
      (error: Error) => this.#ended(life, error),
    )
    return life
  }

  #ended(life: Life, { message }: Error): void {
    this.#write(life, { kind: 'ended', client: life.name, error: message })
  }

  /** What a dead process would have seen, nobody saw. */
  #write({ platform }: Life, happening: Happening): void {
    if (!platform.dead) this.#recorder.write(happening)
  }

  #onStatus(life: Life, status: StatusEvent): void {
    const client = life.name
    if (status.type === 'open') {
      life.session += 1
      const { hub, resumed } = status
      this.#write(life, { kind: 'session', client, session: life.session, hub, resumed })
    } else if (status.type === 'revoked') {
      this.#write(life, { kind: 'revoked', client, id: status.message.id })
    } else if (status.type === 'receipt') {
      this.#receipt(life, status.receipt)
    }
  }

  #receipt(life: Life, { id, status, agentId, reason, at }: Omit<Receipt, 'type' | 'receiptId'>): void {
    const settledAt = Date.parse(at)
    this.#write(life, { kind: 'receipt', client: life.name, id, status, agent: agentId, reason, settledAt })
  }

  async #handle(life: Life, { id, payload, attempt }: ReceivedMessage<Payload>): Promise<void> {
    const { key, lane } = payload
    const client = life.name
    this.#write(life, { kind: 'received', client, session: life.session, key, id, lane, attempt })
    const dice = this.#dice
    if (dice.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, dice.between(1, 40)))
    // Longer than the hub waits without a word: the client says it goes on.
    if (lane === 'queue' && dice.chance(0.02)) await new Promise((resolve) => setTimeout(resolve, 2_500))
    if (dice.chance(0.03)) {
      const requeue = dice.chance(0.9)
      this.#write(life, { kind: 'gave-back', client, key, id, requeue })
      throw new Nack('not now', { requeue, delayMs: dice.between(0, 200) })
    }
    this.#write(life, { kind: 'processed', client, key, id })
  }

  send({ to, lane, owed, receipt, asLeader }: Shot): void {
    const life = this.#life
    if (!life) return
    const client = life.name
    const key = `${client}.${(this.#keys += 1)}`
    this.#write(life, { kind: 'sent', client, key, lane, owed, receipt, term: asLeader, session: null })
    life.unanswered += 1
    const deliver = async (): Promise<void> => {
      try {
        const one = await life.client
        const options = {
          type: lane === 'replies' ? 'response' : 'notification',
          ...(asLeader !== null && { asLeader }),
        }
        const payload = payloadOf(key, lane, this.#dice)
        if (receipt) {
          const sent = await one.send(to, payload, { ...options, receipt: true })
          this.#write(life, { kind: 'answered', client, key, id: sent.id, code: null })
          life.unanswered -= 1
          void this.#follow(life, sent.receipts, sent.id)
        } else {
          const { id } = await one.send(to, payload, options)
          this.#write(life, { kind: 'answered', client, key, id, code: null })
          life.unanswered -= 1
        }
      } catch (error) {
        life.unanswered -= 1
        const code = error instanceof MeshError ? error.code : (error as Error).name
        this.#write(life, { kind: 'answered', client, key, id: null, code })
      }
    }
    void deliver()
  }

  async #follow(
    life: Life,
    receipts: AsyncIterable<Omit<Receipt, 'type' | 'receiptId'>>,
    id: string,
  ): Promise<void> {
    try {
      for await (const receipt of receipts) this.#receipt(life, { ...receipt, id })
    } catch {
      // The client ended first; why, `closed` tells.
    }
  }

  update(): void {
    const metadata = { updates: String((this.#updates += 1)) }
    void this.#life?.client.then((one) => one.update({ metadata })).catch(() => undefined)
  }

  crash(absentMs: number): void {
    const life = this.#life
    if (!life) return
    this.#life = null
    life.platform.die()
    life.abort.abort()
    void life.client.then((one) => one.close()).catch(() => undefined)
    this.#birth = setTimeout(() => this.#begin(), absentMs)
  }

  async close(): Promise<void> {
    clearTimeout(this.#birth)
    const life = this.#life
    // One that could not connect has nothing to close.
    if (life) await life.client.then((one) => one.close()).catch(() => undefined)
  }
}
