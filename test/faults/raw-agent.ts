import { WebSocket } from 'ws'
import type { Message, Receipt } from '../../protocol/pushes.ts'
import type { Incoming } from '../support/agent.ts'
import type { Dice } from './dice.ts'
import { GROUP, type Participant, type Payload, payloadOf, type Shot, WORK } from './participant.ts'
import type { Recorder } from './recorder.ts'

/** Longer than the hubs of a run are silent towards a live client. */
const SILENCE_MS = 3_000
const RECONNECT_MS = 150

/** A message without an answer. */
interface Open extends Shot {
  readonly key: string
  readonly payload: Payload
}

/** What a process remembers. */
interface Life {
  readonly name: string
  /** Sent and not answered, in order. */
  readonly open: Map<number, Open>
  readonly done: Set<string>
  session: number
  seq: number
  proof: string | null
}

/**
 * An agent without a client: the rules of PROTOCOL.md that a client has to keep and no more, so that what the hub pushes is seen as
 * it comes. It acknowledges, gives back, works too slowly, is taken over by its own next session.
 */
export class RawAgent implements Participant {
  readonly agent: string
  readonly #urls: readonly string[]
  readonly #recorder: Recorder
  readonly #dice: Dice
  #life: Life
  #lives = 0
  #keys = 0
  #updates = 0
  #refs = 0
  #tries = 0
  #socket: WebSocket | null = null
  #welcomed = false
  #heardAt = 0
  #closed = false
  #onWelcome: (() => void)[] = []
  #timers = new Set<NodeJS.Timeout>()
  #resending = false
  #absent = false

  constructor(agent: string, urls: readonly string[], recorder: Recorder, dice: Dice) {
    this.agent = agent
    this.#urls = urls
    this.#recorder = recorder
    this.#dice = dice
    this.#life = this.#begin()
  }

  get unanswered(): number {
    return this.#life.open.size
  }

  #begin(): Life {
    const name = `${this.agent}#${(this.#lives += 1)}`
    this.#recorder.write({ kind: 'joined', client: name, agent: this.agent, handles: 'raw' })
    return { name, open: new Map(), done: new Set(), session: 0, seq: 0, proof: null }
  }

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      act()
    }, ms)
    this.#timers.add(timer)
  }

  async start(): Promise<void> {
    const welcomed = new Promise<void>((resolve) => this.#onWelcome.push(resolve))
    this.#connect()
    this.#watchSilence()
    await welcomed
  }

  #connect(): void {
    if (this.#closed) return
    const life = this.#life
    const url = this.#urls[this.#tries++ % this.#urls.length] ?? ''
    const socket = new WebSocket(url, ['meshwire.v1'], { perMessageDeflate: false })
    this.#socket = socket
    this.#welcomed = false
    this.#heardAt = Date.now()
    socket.on('open', () => this.#hello(socket, life))
    socket.on('message', (data) => {
      // A socket that was given up says nothing that counts.
      if (socket !== this.#socket) return
      this.#heardAt = Date.now()
      for (const line of (data as Buffer).toString().split('\n'))
        if (line !== '' && socket === this.#socket) this.#onFrame(socket, life, JSON.parse(line) as Incoming)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      if (socket === this.#socket) this.#again()
    })
  }

  /** Gives the socket up and connects again, elsewhere. */
  #again(): void {
    const socket = this.#socket
    this.#socket = null
    this.#welcomed = false
    socket?.terminate()
    this.#after(this.#dice.between(1, RECONNECT_MS), () => {
      if (this.#socket === null && !this.#absent) this.#connect()
    })
  }

  #watchSilence(): void {
    this.#after(500, () => {
      if (this.#socket && Date.now() - this.#heardAt > SILENCE_MS) this.#again()
      if (!this.#closed) this.#watchSilence()
    })
  }

  #hello(socket: WebSocket, life: Life): void {
    const agent = {
      id: this.agent,
      name: this.agent,
      capabilities: [WORK],
      groups: [GROUP],
      concurrency: 3,
      leaderEligible: true,
    }
    const { name, proof } = life
    this.#write(socket, {
      type: 'hello',
      ref: 'hello',
      protocol: 1,
      producer: name.replace('#', '.'),
      session: proof,
      window: 32,
      agent,
    })
  }

  #write(socket: WebSocket, frame: object): void {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame))
  }

  #onFrame(socket: WebSocket, life: Life, frame: Incoming): void {
    switch (frame.type) {
      case 'ping':
        return this.#write(socket, { type: 'pong' })
      case 'welcome': {
        this.#welcomed = true
        life.session += 1
        life.proof = frame.session
        const { hub, resumed } = frame
        this.#recorder.write({ kind: 'session', client: life.name, session: life.session, hub, resumed })
        for (const tell of this.#onWelcome.splice(0)) tell()
        return this.#resend(socket, life)
      }
      case 'message':
        return this.#onMessage(socket, life, frame as Message<Payload>)
      case 'receipt':
        return this.#onReceipt(socket, life, frame)
      case 'revoked':
        for (const id of frame.ids) this.#recorder.write({ kind: 'revoked', client: life.name, id })
        return
      case 'goaway':
        return this.#after(frame.reconnectAfterMs, () => {
          if (socket === this.#socket) this.#again()
        })
      case 'ok':
        return this.#answered(life, frame.ref, (frame.result as { readonly id?: string }).id ?? null, null)
      case 'error':
        if (frame.ref === 'hello') return socket.terminate()
        if (['store_unavailable', 'draining', 'internal'].includes(frame.error.code))
          return this.#resendSoon(socket, life)
        return this.#answered(life, frame.ref, null, frame.error.code)
      default:
    }
  }

  #answered(life: Life, ref: number | string | undefined, id: string | null, code: string | null): void {
    const seq = Number.parseInt(String(ref), 10)
    const shot = life.open.get(seq)
    if (!shot) return
    life.open.delete(seq)
    this.#recorder.write({ kind: 'answered', client: life.name, key: shot.key, id, code })
  }

  /** All that is open, in order, as after a reconnection: what was answered meanwhile is not open. */
  #resend(socket: WebSocket, life: Life): void {
    for (const [seq, shot] of life.open) this.#writeShot(socket, seq, shot)
  }

  #resendSoon(socket: WebSocket, life: Life): void {
    if (this.#resending) return
    this.#resending = true
    this.#after(this.#dice.between(100, 300), () => {
      this.#resending = false
      if (socket === this.#socket && life === this.#life) this.#resend(socket, life)
    })
  }

  #writeShot(socket: WebSocket, seq: number, { to, lane, receipt, asLeader, payload }: Open): void {
    this.#write(socket, {
      type: 'send',
      ref: `${seq}.${(this.#refs += 1)}`,
      seq,
      to,
      messageType: lane === 'replies' ? 'response' : 'notification',
      payload,
      receipt,
      asLeader,
    })
  }

  send(shot: Shot): void {
    if (this.#absent) return
    const life = this.#life
    const key = `${life.name}.${(this.#keys += 1)}`
    const { lane, owed, receipt, asLeader: term } = shot
    this.#recorder.write({ kind: 'sent', client: life.name, key, lane, owed, receipt, term, session: null })
    const seq = (life.seq += 1)
    const open = { ...shot, key, payload: payloadOf(key, lane, this.#dice) }
    life.open.set(seq, open)
    if (this.#socket && this.#welcomed) this.#writeShot(this.#socket, seq, open)
  }

  #onMessage(socket: WebSocket, life: Life, { id, payload, attempt }: Message<Payload>): void {
    const { key, lane } = payload
    const client = life.name
    this.#recorder.write({ kind: 'received', client, session: life.session, key, id, lane, attempt })
    const dice = this.#dice
    if (lane !== 'queue' && life.done.has(id)) return this.#write(socket, { type: 'ack', ids: [id] })
    // Work that is never spoken of again: the hub takes it back.
    if (lane === 'queue' && dice.chance(0.03)) return
    const act = (): void => {
      // What this session got is not for the next one to settle: it comes again.
      if (socket !== this.#socket || socket.readyState !== WebSocket.OPEN) return
      if (dice.chance(0.04)) {
        const requeue = dice.chance(0.8)
        this.#recorder.write({ kind: 'gave-back', client, key, id, requeue })
        return this.#write(socket, {
          type: 'nack',
          id,
          requeue,
          delayMs: dice.between(0, 200),
          reason: 'not now',
        })
      }
      life.done.add(id)
      this.#recorder.write({ kind: 'processed', client, key, id })
      this.#write(socket, { type: 'ack', ids: [id] })
    }
    if (lane === 'queue' && dice.chance(0.1)) this.#write(socket, { type: 'progress', ids: [id] })
    if (dice.chance(0.7)) act()
    else this.#after(dice.between(1, 60), act)
  }

  #onReceipt(
    socket: WebSocket,
    life: Life,
    { id, receiptId, status, agentId: agent, reason, at }: Receipt,
  ): void {
    const settledAt = Date.parse(at)
    this.#recorder.write({ kind: 'receipt', client: life.name, id, status, agent, reason, settledAt })
    this.#write(socket, { type: 'ack', ids: [receiptId] })
  }

  update(): void {
    const metadata = { updates: String((this.#updates += 1)) }
    if (this.#socket && this.#welcomed) this.#write(this.#socket, { type: 'update', ref: 'update', metadata })
  }

  /** Sends on a session that another one has taken over: it must be refused. */
  #sendOn(socket: WebSocket, { name: client }: Life, session: number): void {
    if (socket.readyState !== WebSocket.OPEN) return
    const key = `${client}.late-${session}`
    this.#recorder.write({
      kind: 'sent',
      client,
      key,
      lane: 'broadcast',
      owed: [],
      receipt: false,
      term: null,
      session,
    })
    socket.on('message', (data) => {
      for (const line of (data as Buffer).toString().split('\n')) {
        const frame = JSON.parse(line) as Incoming
        if (!('ref' in frame) || frame.ref !== key) continue
        const id = frame.type === 'ok' ? (frame.result as { readonly id: string }).id : null
        const code = frame.type === 'error' ? frame.error.code : null
        this.#recorder.write({ kind: 'answered', client, key, id, code })
      }
    })
    const payload: Payload = { key, lane: 'broadcast' }
    this.#write(socket, { type: 'send', ref: key, to: { all: true }, messageType: 'notification', payload })
  }

  /** Where it is back at once, half of the time its next session takes the living one over, with proof. */
  crash(absentMs: number): void {
    if (this.#absent) return
    const old = this.#socket
    if (absentMs === 0 && old && this.#dice.chance(0.5)) {
      const life = this.#life
      const { session } = life
      this.#onWelcome.push(() => this.#sendOn(old, life, session))
      this.#connect()
      // It is ended by the hub, or has been given up with all that it still may say.
      this.#after(2_000, () => old.terminate())
      return
    }
    this.#absent = true
    this.#life = this.#begin()
    this.#socket = null
    old?.terminate()
    this.#after(absentMs, () => {
      this.#absent = false
      this.#connect()
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    const socket = this.#socket
    this.#socket = null
    if (!socket || socket.readyState === WebSocket.CLOSED) return
    const closed = new Promise((resolve) => void socket.once('close', resolve))
    socket.terminate()
    await closed
  }
}
