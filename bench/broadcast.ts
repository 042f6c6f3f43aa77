import type { Flow, Job } from './jobs.ts'
import { Meter, sleep, until } from './measure.ts'
import { body, connectPeers, type Peer, type Receiver } from './peer.ts'

/** Broadcasts under way at once: enough that the server never waits for the next one. */
export const BROADCASTS_UNDER_WAY = 16

/**
 * One agent that broadcasts to all others. A broadcast is under way until its sender has its `ok` and all receivers have it
 * and acknowledge it; each receiver counts as one delivery.
 */
class BroadcastLoad implements Receiver {
  readonly #job: Job & { kind: 'broadcast' }
  #meter = new Meter()
  /** Of each broadcast under way: what is still to come, deliveries and `ok`, and when it was sent. */
  readonly #open = new Map<number, { left: number; readonly sentAt: number }>()
  #sender: Peer | null = null
  #next = 1
  #sending = false

  constructor(job: Job & { kind: 'broadcast' }) {
    this.#job = job
  }

  async connect(): Promise<void> {
    const [sender] = await connectPeers(this.#job.url, 0, this.#job.receivers + 1, this)
    this.#sender = sender ?? null
  }

  async run(seconds: number): Promise<Flow> {
    this.#meter = new Meter()
    await this.#meter.start()
    this.#sending = true
    this.#fill()
    await sleep(seconds * 1000)
    this.#sending = false
    await until(() => this.#open.size === 0, 30_000)
    let lost = 0
    for (const { left } of this.#open.values()) lost += left
    return await this.#meter.stop(lost)
  }

  #fill(): void {
    while (this.#sending && this.#open.size < BROADCASTS_UNDER_WAY) {
      const number = this.#next++
      this.#open.set(number, { left: this.#job.receivers + 1, sentAt: performance.now() })
      const seq = this.#job.seq ? `,"seq":${number}` : ''
      const payload = body(0, number, this.#job.payloadBytes - 2)
      this.#sender?.send(
        `{"type":"send","ref":${number}${seq},"to":{"all":true},"messageType":"notification","durability":"stored","payload":"${payload}"}`,
      )
    }
  }

  #advance(number: number): void {
    const broadcast = this.#open.get(number)
    if (broadcast === undefined) {
      this.#meter.duplicates++
    } else if (--broadcast.left === 0) {
      this.#open.delete(number)
      this.#fill()
    }
  }

  message(_sender: number, number: number, now: number): void {
    this.#meter.completed(now)
    this.#meter.delivered(now - (this.#open.get(number)?.sentAt ?? now))
    this.#advance(number)
  }

  ok(_peer: Peer, ref: number): void {
    this.#advance(ref)
  }

  error(_peer: Peer, _ref: number, text: string): void {
    this.#meter.error(text)
  }
}

/** Measures deliveries of broadcasts. */
export async function runBroadcast(job: Job & { kind: 'broadcast' }): Promise<Flow> {
  const load = new BroadcastLoad(job)
  await load.connect()
  await load.run(0.5)
  return await load.run(job.seconds)
}
