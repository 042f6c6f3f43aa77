import type { Core } from '../core/core.ts'
import type { Lane, Settlement } from '../core/inboxes.ts'
import type { Delivery } from './delivery.ts'

/** Milliseconds acknowledgements are collected for: one call for many, and no more than this of them lost with a hub. */
const COLLECT_MS = 3
/** Milliseconds between writes of cursors: one write for any number of broadcasts, at the price of pushing some again after a crash. */
const CURSORS_MS = 1_000
const RETRY_MS = 500
/** Numbers in one call; a script unpacks them. */
const CALL_MAX = 2_000

/** Acknowledgements of one namespace on their way to the store. */
export class Settler {
  readonly #namespace: string
  readonly #core: Core
  #numbers = new Map<string, { agentId: string; lane: Lane; numbers: number[] }>()
  #cursors = new Set<Delivery>()
  #timer: NodeJS.Timeout | null = null
  #cursorTimer: NodeJS.Timeout | null = null
  #writing: Promise<void> | null = null

  constructor(namespace: string, core: Core) {
    this.#namespace = namespace
    this.#core = core
  }

  settle(agentId: string, lane: Lane, number: number): void {
    const key = lane + agentId
    const found = this.#numbers.get(key)
    if (found) found.numbers.push(number)
    else this.#numbers.set(key, { agentId, lane, numbers: [number] })
    this.#timer ??= setTimeout(() => void this.flush(), COLLECT_MS)
  }

  /** The cursor of this delivery has moved. */
  touch(delivery: Delivery): void {
    this.#cursors.add(delivery)
    this.#cursorTimer ??= setTimeout(() => void this.flushCursors(), CURSORS_MS)
  }

  /** Writes what was acknowledged up to now. Never rejects: what could not be written is kept and tried again. */
  async flush(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    while (this.#writing) await this.#writing
    if (this.#numbers.size === 0) return
    this.#writing = this.#write()
    await this.#writing
  }

  async #write(): Promise<void> {
    const all = this.#numbers
    this.#numbers = new Map()
    try {
      for (const call of toCalls([...all.values()])) {
        await this.#core.inboxes.settle(this.#namespace, call)
        for (const { agentId, lane } of call) all.get(lane + agentId)?.numbers.splice(0, CALL_MAX)
      }
    } catch {
      // Deleting twice is harmless, so all that may not have been deleted is deleted again. Who cannot be served is told where commands fail.
      for (const { agentId, lane, numbers } of all.values()) for (const number of numbers) this.#keep(agentId, lane, number)
      this.#timer ??= setTimeout(() => void this.flush(), RETRY_MS)
    } finally {
      this.#writing = null
    }
  }

  #keep(agentId: string, lane: Lane, number: number): void {
    const key = lane + agentId
    const found = this.#numbers.get(key)
    if (found) found.numbers.push(number)
    else this.#numbers.set(key, { agentId, lane, numbers: [number] })
  }

  /** Writes all cursors that have moved. Never rejects. */
  async flushCursors(only?: Delivery): Promise<void> {
    const deliveries = only ? (this.#cursors.delete(only) ? [only] : []) : [...this.#cursors]
    if (!only) {
      if (this.#cursorTimer) clearTimeout(this.#cursorTimer)
      this.#cursorTimer = null
      this.#cursors = new Set()
    }
    if (deliveries.length === 0) return
    try {
      await this.#core.broadcasts.settle(
        this.#namespace,
        deliveries.map((delivery) => ({ agentId: delivery.agentId, ...delivery.cursor })),
      )
    } catch {
      for (const delivery of deliveries) this.#cursors.add(delivery)
      this.#cursorTimer ??= setTimeout(() => void this.flushCursors(), RETRY_MS)
    }
  }

  /** Writes everything and ends the timers; what cannot be written now comes again to its agent. */
  async close(): Promise<void> {
    await this.flush()
    await this.flushCursors()
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#cursorTimer) clearTimeout(this.#cursorTimer)
  }
}

/** Settlements in calls of bounded size. */
function toCalls(settlements: readonly Settlement[]): Settlement[][] {
  const calls: Settlement[][] = [[]]
  let size = 0
  for (const { agentId, lane, numbers } of settlements) {
    for (let at = 0; at < numbers.length; at += CALL_MAX) {
      const part = numbers.slice(at, at + CALL_MAX)
      if (size > 0 && size + part.length > CALL_MAX) {
        calls.push([])
        size = 0
      }
      calls.at(-1)?.push({ agentId, lane, numbers: part })
      size += part.length
    }
  }
  return calls
}
