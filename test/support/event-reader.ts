/** One event as an `EventSource` would tell it. */
export interface ServerEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
  /** The last event id after it. */
  readonly id: string
}

const WAIT_MS = 5_000

/** Reads Server-Sent Events as browsers do; it connects again by `reconnect` only. */
export class EventReader implements AsyncDisposable {
  readonly #response: Response
  readonly #abort: AbortController
  readonly #events: ServerEvent[] = []
  readonly #wake = new Set<() => void>()
  readonly ended: Promise<void>
  /** Everything that came, as it came. */
  text = ''
  lastEventId: string
  retryMs: number | null = null

  private constructor(response: Response, abort: AbortController, lastEventId: string) {
    this.#response = response
    this.#abort = abort
    this.lastEventId = lastEventId
    this.ended = this.#read()
  }

  /** @param lastEventId as an `EventSource` sends it when it connects again */
  static async open(
    url: string,
    lastEventId = '',
    more: Readonly<Record<string, string>> = {},
  ): Promise<EventReader> {
    const abort = new AbortController()
    const response = await fetch(url, {
      signal: abort.signal,
      headers: {
        ...more,
        accept: 'text/event-stream',
        ...(lastEventId !== '' && { 'last-event-id': lastEventId }),
      },
    })
    if (response.headers.get('content-type') !== 'text/event-stream; charset=utf-8')
      throw new Error(`no event stream: ${response.status} ${await response.text()}`)
    return new EventReader(response, abort, lastEventId)
  }

  get headers(): Headers {
    return this.#response.headers
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder()
    let rest = ''
    try {
      for await (const chunk of this.#response.body ?? []) {
        const text = decoder.decode(chunk as Uint8Array, { stream: true })
        this.text += text
        rest += text
        const blocks = rest.split('\n\n')
        rest = blocks.pop() ?? ''
        for (const block of blocks) this.#onBlock(block)
      }
    } catch {
      // Cut off, or closed by the test.
    }
    for (const wake of this.#wake) wake()
  }

  #onBlock(block: string): void {
    let event = 'message'
    let data = ''
    for (const line of block.split('\n')) {
      const [, field, value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? []
      if (field === 'id') this.lastEventId = value
      else if (field === 'event') event = value
      else if (field === 'data') data += value
      else if (field === 'retry') this.retryMs = Number(value)
    }
    if (data !== '')
      this.#events.push({ event, data: JSON.parse(data) as Record<string, unknown>, id: this.lastEventId })
    for (const wake of this.#wake) wake()
  }

  /** Resolves when something has come, or all has. */
  async #something(): Promise<void> {
    let wake!: () => void
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`nothing came in ${WAIT_MS} ms after ${this.text.slice(-300)}`)),
        WAIT_MS,
      )
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#wake.add(wake)
    }).finally(() => this.#wake.delete(wake))
  }

  /** The next event; those of other kinds before it are dropped where one is named. */
  async next(kind?: string): Promise<ServerEvent> {
    for (;;) {
      const found = this.#events.shift()
      if (found === undefined) await this.#something()
      else if (kind === undefined || found.event === kind) return found
    }
  }

  /** Events that came and nobody has asked for. */
  get waiting(): readonly ServerEvent[] {
    return this.#events
  }

  /** Resolves when what came matches. */
  async seen(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) await this.#something()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort()
    await this.ended
  }
}
