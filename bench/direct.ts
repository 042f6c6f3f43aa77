import type { DirectFlow, Job } from './jobs.ts'
import { Meter, sleep, until } from './measure.ts'
import { body, connectPeers, type Peer, type Receiver } from './peer.ts'

const STORED = 1
const DELIVERED = 2
const UNDER_WAY = 4
// Numbers of one sender that can be told apart; more than any window, for messages may overtake each other.
const RING = 8192
const WARM_UP_WINDOW = 64
/** Messages of the work queue that an agent takes at once. */
const WORKING = 64

/** One sender's messages that are under way. */
class Sender {
  readonly peer: Peer
  readonly state = new Uint8Array(RING)
  readonly sentAt = new Float64Array(RING)
  next = 1
  underWay = 0

  constructor(peer: Peer) {
    this.peer = peer
  }
}

/**
 * Agents that send to each other, each to all others in turn, as fast as the window lets them. A message is under way from
 * `send` until its sender has its `ok` and its receiver has it and acknowledges it, whichever is later; each sender has at
 * most `window` messages under way.
 *
 * Above window 1 all windows are filled again together, whenever an eighth of all places is free. Filled one by one and at
 * once, the sender that a server is just reading would be given more to read for as long as the server reads: a server
 * that takes what a socket holds would stay with a few senders for many seconds, and figures would say how lucky they are.
 */
class DirectLoad implements Receiver {
  readonly #job: Job & { kind: 'direct' | 'queue' }
  #senders: Sender[] = []
  #targets: string[] = []
  #meter = new Meter()
  #window = 0
  /** Places that became free since the windows were filled, and how many of them are waited for. */
  #free = 0
  #refillAt = 1

  constructor(job: Job & { kind: 'direct' | 'queue' }) {
    this.#job = job
  }

  async connect(): Promise<void> {
    const agent = this.#job.kind === 'queue' ? { concurrency: WORKING } : {}
    const peers = await connectPeers(this.#job.url, 0, this.#job.agents, this, agent)
    this.#senders = peers.map((peer) => new Sender(peer))
    this.#targets = peers.map(({ id }) => {
      const to = this.#job.kind === 'queue' ? '{"capability":"bench"}' : `{"agent":"${id}"}`
      return `,"to":${to},"messageType":"notification","durability":"stored","payload":"`
    })
  }

  async run(window: number, seconds: number): Promise<DirectFlow> {
    this.#meter = new Meter()
    await this.#meter.start()
    this.#window = window
    this.#free = 0
    this.#refillAt = window === 1 ? 1 : (this.#senders.length * window) / 8
    for (const sender of this.#senders) this.#fill(sender)
    await sleep(seconds * 1000)
    this.#window = 0
    const underWay = (): number => this.#senders.reduce((sum, sender) => sum + sender.underWay, 0)
    await until(() => underWay() === 0, 30_000)
    return { window, ...(await this.#meter.stop(underWay())) }
  }

  #fill(sender: Sender): void {
    const now = performance.now()
    while (sender.underWay < this.#window) {
      const number = sender.next
      const slot = number % RING
      if (sender.state[slot] !== 0) return
      sender.next++
      sender.underWay++
      sender.state[slot] = UNDER_WAY
      sender.sentAt[slot] = now
      const { index } = sender.peer
      const target = this.#targets[(index + 1 + (number % (this.#targets.length - 1))) % this.#targets.length]
      const seq = this.#job.seq ? `,"seq":${number}` : ''
      sender.peer.send(
        `{"type":"send","ref":${number}${seq}${target}${body(index, number, this.#job.payloadBytes - 2)}"}`,
      )
    }
  }

  #advance(sender: Sender, number: number, step: number, now: number): void {
    const slot = number % RING
    const state = sender.state[slot] ?? 0
    if (state === 0 || (state & step) !== 0) {
      this.#meter.duplicates++
      return
    }
    sender.state[slot] = state | step
    if ((state | step) !== (UNDER_WAY | STORED | DELIVERED)) return
    sender.state[slot] = 0
    sender.underWay--
    this.#meter.completed(now)
    this.#freed(sender)
  }

  #freed(sender: Sender): void {
    if (this.#refillAt === 1) {
      this.#fill(sender)
    } else if (++this.#free >= this.#refillAt) {
      this.#free = 0
      for (const one of this.#senders) this.#fill(one)
    }
  }

  message(index: number, number: number, now: number): void {
    const sender = this.#senders[index]
    if (sender === undefined) return
    this.#meter.delivered(now - (sender.sentAt[number % RING] ?? now))
    this.#advance(sender, number, DELIVERED, now)
  }

  ok(peer: Peer, ref: number, now: number): void {
    const sender = this.#senders[peer.index]
    if (sender !== undefined) this.#advance(sender, ref, STORED, now)
  }

  error(_peer: Peer, _ref: number, text: string): void {
    this.#meter.error(text)
  }
}

/** Runs a flow at each window, one after the other, on the same connections. */
export async function runDirect(job: Job & { kind: 'direct' }): Promise<readonly DirectFlow[]> {
  const load = new DirectLoad(job)
  await load.connect()
  await load.run(WARM_UP_WINDOW, 1)
  const flows: DirectFlow[] = []
  for (const window of job.windows) flows.push(await load.run(window, job.seconds))
  return flows
}

/** One flow through a work queue that all agents serve. */
export async function runQueue(job: Job & { kind: 'queue' }): Promise<DirectFlow> {
  const load = new DirectLoad(job)
  await load.connect()
  await load.run(WARM_UP_WINDOW, 1)
  return await load.run(job.window, job.seconds)
}
