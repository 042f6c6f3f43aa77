import { busyDelay, GOOD_AFTER_MS, reconnectDelay } from './backoff.ts'

/** Milliseconds that a timer may be late without having stood still. */
const OVERDUE_MS = 1000

/** Why a connection ended, or did not come about. */
export interface Ending {
  /** `busy`: the hub takes no more connections now, or no more at all, and says when to come back. */
  readonly reason: 'closed' | 'busy' | 'refused' | 'silent' | 'timeout' | 'broken' | 'token' | 'left'
  /** The WebSocket close code; null where this side gave the connection up. */
  readonly code: number | null
  readonly error: Error
  /** Whether trying again unchanged is useless. */
  readonly final: boolean
  /** Milliseconds to wait at least, where the hub said so. */
  readonly retryAfterMs: number | null
}

/** An ending; by default this side gave the connection up, and trying again may help. */
export function endingOf(reason: Ending['reason'], error: Error, more: Partial<Ending> = {}): Ending {
  return { reason, code: null, error, final: false, retryAfterMs: null, ...more }
}

/** Where a client stands. `attempt` counts the tries since the last good connection: 0 is the very first. */
export type ConnectionState =
  | { readonly type: 'idle' }
  /** A token is fetched, a socket opened. */
  | { readonly type: 'connecting'; readonly url: string; readonly attempt: number }
  /** `hello` is sent. */
  | { readonly type: 'greeting'; readonly url: string; readonly attempt: number }
  /** `resumed`: the agent was still registered, its inbox intact. `since`: milliseconds since 1970. */
  | {
      readonly type: 'open'
      readonly url: string
      readonly attempt: number
      readonly hub: string
      readonly resumed: boolean
      readonly since: number
    }
  /** Disconnected; try number `attempt` comes after `delayMs`, at `retryAt` (milliseconds since 1970). */
  | {
      readonly type: 'waiting'
      readonly attempt: number
      readonly cause: Ending
      readonly delayMs: number
      readonly retryAt: number
    }
  /** `close()` was called and the connection still stands: handlers finish, answers come in. */
  | { readonly type: 'draining'; readonly url: string; readonly attempt: number; readonly since: number }
  /** The end. `error` is null after `close()`. */
  | { readonly type: 'closed'; readonly error: Error | null }

/** What can happen to a client's connection. `now` is in milliseconds since 1970, `random` from 0 to 1. */
export type Occurrence =
  | { readonly type: 'dial'; readonly url: string; readonly now: number }
  | { readonly type: 'connected' }
  | { readonly type: 'welcomed'; readonly hub: string; readonly resumed: boolean; readonly now: number }
  | { readonly type: 'lost'; readonly cause: Ending; readonly now: number; readonly random: number }
  | { readonly type: 'woken'; readonly delayMs: number; readonly now: number }
  | { readonly type: 'drain' }
  | { readonly type: 'close'; readonly error: Error | null }

function nextAttempt(state: Exclude<ConnectionState, { readonly type: 'closed' }>, now: number): number {
  if (state.type === 'idle') return 0
  if (state.type === 'waiting') return state.attempt
  return 'since' in state && now - state.since >= GOOD_AFTER_MS ? 1 : state.attempt + 1
}

/**
 * The state after an occurrence; pure. What can't happen in a state leaves it as it is (the same object): a socket that was
 * given up may still say something. `closed` is for ever.
 */
export function advance(state: ConnectionState, occurrence: Occurrence): ConnectionState {
  if (state.type === 'closed') return state
  switch (occurrence.type) {
    case 'dial':
      return { type: 'connecting', url: occurrence.url, attempt: nextAttempt(state, occurrence.now) }
    case 'connected':
      return state.type === 'connecting' ? { ...state, type: 'greeting' } : state
    case 'welcomed': {
      if (state.type !== 'greeting') return state
      const { hub, resumed, now: since } = occurrence
      return { ...state, type: 'open', hub, resumed, since }
    }
    case 'lost': {
      if (state.type === 'idle' || state.type === 'waiting') return state
      const { cause, random, now } = occurrence
      const isBusy = cause.reason === 'busy'
      // A hub that says when to come back has not failed.
      const attempt = isBusy ? Math.max(1, state.attempt) : nextAttempt(state, now)
      const retryAfterMs = cause.retryAfterMs ?? 0
      // A hub that says when spreads its clients itself: growing delays would only add to that.
      const delayMs = Math.round(
        isBusy ? busyDelay(retryAfterMs, random) : Math.max(reconnectDelay(attempt, random), retryAfterMs),
      )
      return { type: 'waiting', attempt, cause, delayMs, retryAt: now + delayMs }
    }
    case 'woken': {
      const retryAt = occurrence.now + Math.round(occurrence.delayMs)
      if (state.type !== 'waiting') return state
      // A try that is long overdue has a timer that stood still with the machine.
      if (state.retryAt <= retryAt && state.retryAt > occurrence.now - OVERDUE_MS) return state
      return { ...state, delayMs: Math.round(occurrence.delayMs), retryAt }
    }
    case 'drain': {
      if (state.type !== 'open') return state
      const { url, attempt, since } = state
      return { type: 'draining', url, attempt, since }
    }
    case 'close':
      return { type: 'closed', error: occurrence.error }
  }
}
