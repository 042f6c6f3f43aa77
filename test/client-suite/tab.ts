import type { AgentOptions, Client, StatusEvent } from '../../client/api.ts'
import { Collector } from './stage.ts'
import type { Library } from './stage.ts'

/** A page that is one agent, moved by a test in Node. */
export class Tab {
  readonly got = new Collector<unknown>()
  /** The answers to `send`s, by payload: `stored`, or why not. */
  readonly answers: Record<string, string> = {}
  readonly #library: Library
  readonly #events: StatusEvent[] = []
  /** Those before were asked for already. */
  #told = 0
  #check: () => void = () => undefined
  #client: Client | null = null

  constructor(library: Library) {
    this.#library = library
  }

  get client(): Client {
    if (this.#client === null) throw new Error('this tab has not joined')
    return this.#client
  }

  async join(url: string, name: string, options: Partial<AgentOptions> = {}): Promise<void> {
    const onStatus = (event: StatusEvent): void => {
      this.#events.push(event)
      this.#check()
    }
    const all = { url, name, id: name, capabilities: ['test'], onStatus, ...options }
    this.#client = await this.#library.connect(all)
    this.#client.onMessage(({ payload }) => this.got.add(payload))
    await this.until('open')
  }

  /** The next event of a type after those that were waited for before, as JSON tells it. */
  until(type: StatusEvent['type']): Promise<StatusEvent> {
    return new Promise((resolve) => {
      this.#check = () => {
        const index = this.#events.findIndex((event, at) => at >= this.#told && event.type === type)
        const event = this.#events[index]
        if (event === undefined) return
        this.#told = index + 1
        this.#check = () => undefined
        resolve(JSON.parse(JSON.stringify(event)) as StatusEvent)
      }
      this.#check()
    })
  }

  /** What happened so far, by type. */
  get history(): readonly string[] {
    return this.#events.map(({ type }) => type)
  }

  send(to: string, payload: string): void {
    this.client.send(to, payload).then(
      () => (this.answers[payload] = 'stored'),
      (error: Error) => (this.answers[payload] = error.message),
    )
  }
}
