import type { Cursor } from '../core/broadcasts.ts'
import type { Core } from '../core/core.ts'
import type { Lane, Settlement } from '../core/inboxes.ts'
import type { Settled } from './settled.ts'

/** Milliseconds acknowledgements are collected for: one call for many, and no more than this of them lost with a hub. */
const COLLECT_MS = 3
/** Milliseconds between writes of cursors: one write for any number of broadcasts, at the price of pushing some again after a crash. */
const CURSORS_MS = 1_000
const RETRY_MS = 500
/** Numbers in one call; a script unpacks them. */
const CALL_MAX = 2_000
const LANES: readonly Lane[] = ['inbox', 'replies']

interface Batch extends Settlement {
  readonly settled: Settled
}

/** Acknowledgements of one namespace on their way to the store. */
export class Settler {
  readonly #namespace: string
  readonly #core: Core
  #sessions = new Set<Settled>()
  #cursors = new Set<Settled>()
  #timer: NodeJS.Timeout | null = null
  #cursorTimer: NodeJS.Timeout | null = null
  #writing: Promise<void> | null = null
  #epoch = 0

  constructor(namespace: string, core: Core) {
    this.#namespace = namespace
    this.#core = core
  }

  /** Which of the store's epochs it is, as counted here. What was acknowledged in an earlier one is void. */
  get epoch(): number {
    return this.#epoch
  }

  /** The store has lost data, and may give numbers again: nothing that was acknowledged up to now is ever told, whoever's it is and however long ago it left. */
  endEpoch(): void {
    this.#epoch++
  }

  /** There are entries to be deleted. */
  add(settled: Settled): void {
    this.#sessions.add(settled)
    this.#timer ??= setTimeout(() => void this.flush(), COLLECT_MS)
  }

  /** The place in the log has moved. */
  touch(settled: Settled): void {
    this.#cursors.add(settled)
    this.#cursorTimer ??= setTimeout(() => void this.flushCursors(), CURSORS_MS)
  }

  /** Writes what was acknowledged up to now. Never rejects: what could not be written is kept and tried again. */
  async flush(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    while (this.#writing) await this.#writing
    if (this.#sessions.size === 0) return
    this.#writing = this.#write().finally(() => {
      this.#writing = null
    })
    await this.#writing
  }

  async #write(): Promise<void> {
    const sessions = this.#sessions
    this.#sessions = new Set()
    let failed = false
    for (const batches of toCalls(sessions)) {
      // Those before may have taken a while.
      const call = batches.filter(({ settled }) => !settled.isVoid)
      try {
        if (!failed && call.length > 0) await this.#core.inboxes.settle(this.#namespace, call)
      } catch {
        // Deleting twice is harmless, so all that may not have been deleted is deleted again. Who cannot be served is told where commands fail.
        failed = true
      }
      if (!failed) continue
      for (const { settled, lane, numbers } of call) {
        if (settled.isVoid) continue
        settled.putBack(lane, numbers)
        this.#sessions.add(settled)
      }
    }
    if (failed) this.#timer ??= setTimeout(() => void this.flush(), RETRY_MS)
  }

  /** Writes the cursors that have moved, or only that of one session, which ends. Never rejects. */
  async flushCursors(only?: Settled): Promise<void> {
    // What an agent was never owed must not count as lost by it later.
    let sessions = only && (this.#cursors.delete(only) || only.hasReadLog) ? [only] : []
    if (!only) {
      if (this.#cursorTimer) clearTimeout(this.#cursorTimer)
      this.#cursorTimer = null
      sessions = [...this.#cursors]
      this.#cursors = new Set()
    }
    let failed = false
    for (const cursors of toCursorCalls(sessions)) {
      const call = cursors.filter(({ settled }) => !settled.isVoid)
      try {
        if (!failed && call.length > 0) await this.#core.broadcasts.settle(this.#namespace, call)
      } catch {
        // A cursor that is not written means a broadcast pushed again, not one lost; the next write has it.
        failed = true
      }
      if (!failed) continue
      for (const { settled, ...cursor } of call) {
        if (settled.isVoid) continue
        settled.putBackCursor(cursor)
        this.#cursors.add(settled)
      }
    }
    if (failed) this.#cursorTimer ??= setTimeout(() => void this.flushCursors(), RETRY_MS)
  }

  /** The agent is gone, and what it acknowledged with it; or the entries it names are others by now. */
  drop(settled: Settled): void {
    settled.forget()
    this.#sessions.delete(settled)
    this.#cursors.delete(settled)
  }

  /** Writes everything and ends the timers; what cannot be written now comes again to its agent. */
  async close(): Promise<void> {
    await this.flush()
    await this.flushCursors()
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#cursorTimer) clearTimeout(this.#cursorTimer)
  }
}

interface MovedCursor extends Cursor {
  readonly agentId: string
  readonly settled: Settled
}

/** Where the sessions stand in the log, in calls of bounded size. */
function toCursorCalls(sessions: readonly Settled[]): MovedCursor[][] {
  const calls: MovedCursor[][] = []
  let size = CALL_MAX
  for (const settled of sessions) {
    const cursor = { agentId: settled.agentId, settled, ...settled.takeCursor() }
    if (size >= CALL_MAX) {
      calls.push([])
      size = 0
    }
    calls.at(-1)?.push(cursor)
    size += 1 + cursor.beyond.length
  }
  return calls
}

/** What the sessions have settled, in calls of bounded size. */
function toCalls(sessions: Iterable<Settled>): Batch[][] {
  const calls: Batch[][] = [[]]
  let size = 0
  for (const settled of sessions) {
    for (const lane of LANES) {
      const numbers = settled.take(lane)
      for (let at = 0; at < numbers.length; at += CALL_MAX) {
        const part = numbers.length <= CALL_MAX ? numbers : numbers.slice(at, at + CALL_MAX)
        if (size > 0 && size + part.length > CALL_MAX) {
          calls.push([])
          size = 0
        }
        calls.at(-1)?.push({ settled, agentId: settled.agentId, lane, numbers: part })
        size += part.length
      }
    }
  }
  return size === 0 ? [] : calls
}
