import { connect, type Client } from '../../client/node.ts'

export interface Counts {
  /** Direct messages and work that a `send` was answered `ok` for. */
  sent: number
  handled: number
  /** Direct messages handled though they had been handled before: there must be none. */
  twice: number
  /** Work done again by another worker, because the first one was away for longer than its grace: allowed, and rare. */
  doneAgain: number
  broadcasts: number
  chunks: number
  /** Streams that broke off: they do not outlive a hub. */
  broken: number
  /** Agents that came, did something and were unregistered. */
  churned: number
}

const PAIRS = 8
const WORKERS = 4
const PAUSE_MS = 10
const CHURN_MS = 50
const CHUNKS = 200

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Everything that agents do, all at once, until it is told to stop. */
export class Traffic {
  readonly counts: Counts = {
    sent: 0,
    handled: 0,
    twice: 0,
    doneAgain: 0,
    broadcasts: 0,
    chunks: 0,
    broken: 0,
    churned: 0,
  }
  readonly #urls: readonly string[]
  readonly #run: string
  readonly #clients: Client[] = []
  readonly #open = new Set<string>()
  readonly #done = new Set<string>()
  #running: Promise<unknown> = Promise.resolve()
  #going = true

  /** @param run a name for this run: no agent is one of another run */
  constructor(urls: readonly string[], run: string) {
    this.#urls = urls
    this.#run = run
  }

  async #dial(name: string, index: number, capabilities: readonly string[]): Promise<Client> {
    const url = this.#urls.map((_, i) => this.#urls[(i + index) % this.#urls.length] ?? '')
    const id = `${this.#run}-${name}-${index}`
    return connect({ url, id, name: id, capabilities, concurrency: 4, groups: ['soak'] })
  }

  async start(): Promise<void> {
    const index = Array.from({ length: PAIRS }, (_, i) => i)
    const senders = await Promise.all(index.map((i) => this.#dial('sender', i, ['sending'])))
    const readers = await Promise.all(index.map((i) => this.#dial('reader', i + 1, ['reading'])))
    const workers = await Promise.all(index.slice(0, WORKERS).map((i) => this.#dial('worker', i, ['work'])))
    this.#clients.push(...senders, ...readers, ...workers)
    for (const reader of readers) {
      reader.onMessage<string>('notification', ({ payload }) => this.#handle(payload))
      reader.onMessage('state_sync', () => void this.counts.broadcasts++)
      reader.onStream(async (stream) => {
        for await (const _ of stream) this.counts.chunks++
      })
    }
    for (const worker of workers) {
      worker.onMessage<string>('task_delegation', async ({ payload }) => {
        await pause(2)
        this.#handle(payload)
      })
    }
    this.#running = Promise.all([
      ...senders.map((sender, i) => this.#send(sender, readers[i]?.agent?.id ?? '', i)),
      ...senders.slice(1, 3).map((sender, i) => this.#stream(sender, readers[i + 2]?.agent?.id ?? '')),
      this.#churn(),
    ])
  }

  #handle(payload: string): void {
    if (!this.#done.has(payload)) this.counts.handled++
    else if (payload.startsWith('w')) this.counts.doneAgain++
    else this.counts.twice++
    this.#done.add(payload)
    this.#open.delete(payload)
  }

  async #send(sender: Client, to: string, index: number): Promise<void> {
    for (let i = 0; this.#going; i++) {
      const [direct, work] = [`d ${index} ${i}`, `w ${index} ${i}`]
      this.#open.add(direct).add(work)
      await Promise.all([
        sender.send(to, direct, { type: 'notification' }),
        sender.send({ capability: 'work' }, work, { type: 'task_delegation' }),
        ...(i % 50 === 0 ? [sender.send({ group: 'soak' }, i, { type: 'state_sync' })] : []),
      ])
      this.counts.sent += 2
      await pause(PAUSE_MS)
    }
  }

  async #stream(sender: Client, to: string): Promise<void> {
    while (this.#going) {
      try {
        const writer = await sender.openStream(to)
        for (let i = 0; i < CHUNKS && this.#going; i++) await writer.write({ i })
        await writer.end()
      } catch {
        // Its hub is gone, or the other one's.
        this.counts.broken++
        await pause(200)
      }
    }
  }

  /** Agents that come, watch, write, and go. */
  async #churn(): Promise<void> {
    for (let i = 0; this.#going; i++) {
      const client = await this.#dial('guest', i, ['visiting'])
      const watch = client.watch()
      await watch.next()
      await client.send(client.agent?.id ?? '', 'note to self', { type: 'notification' })
      await watch.return()
      // Every other one leaves by the front door; the others are lost, and time does the rest.
      await client.close({ unregister: i % 2 === 0 })
      this.counts.churned++
      await pause(CHURN_MS)
    }
  }

  /** Ends it; resolves with how many messages were never handled. */
  async stop(): Promise<number> {
    this.#going = false
    await this.#running
    for (const deadline = Date.now() + 20_000; this.#open.size > 0 && Date.now() < deadline;) await pause(50)
    await Promise.all(this.#clients.map((client) => client.close({ unregister: true })))
    return this.#open.size
  }
}
