import type { BroadcastEntry } from '../broadcasts.ts'
import type { Bus, Signal, Subscription } from '../bus.ts'
import { parseEvent } from './event-text.ts'
import type { Store } from './store.ts'

/**
 * Signals as text: a letter, then lines. E entries of a lane, X displaced, B broadcast, V event, D dead letters are written by the
 * scripts; J is any other signal as JSON. Behind E and B stands the epoch: numbers of another one mean something else.
 */
export class RedisBus implements Bus {
  readonly lossy = true
  readonly #store: Store
  readonly #onError: (error: Error) => void

  constructor(store: Store, onError: (error: Error) => void) {
    this.#store = store
    this.#onError = onError
  }

  async subscribe(
    namespace: string,
    hub: string,
    onSignal: (signal: Signal) => void,
    onGap: () => void,
  ): Promise<Subscription> {
    const { connections } = this.#store
    const keys = this.#store.keys.of(namespace)
    const channels = [keys.hubChannel(hub), keys.feedChannel]
    let open = true
    const onText = (text: string): void => {
      const epoch = text.slice(1, text.indexOf('\n'))
      // A session of an ended epoch would take its first entries for such as it has had, and be pushed only what is behind them.
      if (epoch !== '' && !this.#store.epochs.hears(keys, epoch)) return
      for (const signal of parseSignals(text)) if (open) onSignal(signal)
    }
    const letGo = this.#store.epochs.hold(keys)
    try {
      await connections.subscribe(channels, onText, onGap)
    } catch (error) {
      letGo()
      throw error
    }
    return {
      close: async () => {
        if (open) letGo()
        open = false
        await connections.unsubscribe(channels, onText, onGap)
      },
    }
  }

  publish(namespace: string, hub: string | null, signal: Signal): void {
    const keys = this.#store.keys.of(namespace)
    const channel = hub === null ? keys.feedChannel : keys.hubChannel(hub)
    const { connections } = this.#store
    connections.call(connections.publishCommand, channel, `J\n${JSON.stringify(signal)}`).catch(this.#onError)
  }
}

const number = (text: string | undefined): number | null => (text ? Number(text) : null)

/** Everything one published text tells. */
export function parseSignals(text: string): Signal[] {
  const body = text.slice(text.indexOf('\n') + 1)
  switch (text[0]) {
    case 'E':
      return parseEntries(body)
    case 'B':
      return [parseBroadcast(body)]
    case 'V':
      return [{ kind: 'event', event: parseEvent(body) }]
    case 'X': {
      const [id = '""', fence] = body.split('\n')
      return [{ kind: 'displaced', agentId: JSON.parse(id) as string, fence: Number(fence) }]
    }
    case 'D':
      return body.split('\n').map((line) => {
        const dead = JSON.parse(line) as {
          id?: string
          agent?: string
          capability?: string
          reason: string
          at: string
        }
        return {
          kind: 'dead',
          messageId: dead.id ?? null,
          agentId: dead.agent ?? null,
          capability: dead.capability ?? null,
          reason: dead.reason,
          at: Number(dead.at),
        }
      })
    default:
      return [JSON.parse(body) as Signal]
  }
}

function parseEntries(body: string): Signal[] {
  const lines = body.split('\n')
  const signals: Signal[] = []
  for (let i = 0; i + 2 < lines.length; i += 3) {
    const [place = '', expiresAt] = (lines[i] ?? '').split(' ')
    signals.push({
      kind: 'entry',
      lane: place[0] === 'i' ? 'inbox' : 'replies',
      number: Number(place.slice(1)),
      agentId: JSON.parse(lines[i + 1] ?? '""') as string,
      text: lines[i + 2] || null,
      expiresAt: number(expiresAt),
    })
  }
  return signals
}

function parseBroadcast(body: string): Signal {
  const [place, expiresAt, echo, from, recipients, text] = body.split('\n')
  const entry: BroadcastEntry | null =
    text === undefined
      ? null
      : {
          number: Number(place),
          text,
          from: JSON.parse(from ?? '""') as string,
          echo: echo === '1',
          recipients: recipients ? (JSON.parse(recipients) as string[]) : null,
          expiresAt: number(expiresAt),
        }
  return { kind: 'broadcast', number: Number(place), entry }
}
