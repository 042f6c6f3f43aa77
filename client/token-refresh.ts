import type { AuthResult, Welcome } from '../protocol/replies.ts'
import type { Calls } from './calls.ts'

/** The part of what is left of a token's life after which the next one is fetched. */
const PART = 0.8
/** Milliseconds between tries at least. */
const MIN_MS = 1000
/** The longest time a timer takes. */
const MAX_MS = 2 ** 31 - 1

/** Sends a fresh token while a session lives, before the one it has ends; what fails is tried again in what is left. */
export interface TokenRefresh {
  /** A session is open. */
  resume(welcome: Welcome): void
  /** The connection is gone, or the client has ended. */
  stop(): void
}

export function createTokenRefresh(
  fetchToken: () => string | Promise<string>,
  once: Calls['once'],
): TokenRefresh {
  let timer: ReturnType<typeof setTimeout> | undefined
  /** When the token ends, by our clock. */
  let endsAt = 0
  /** The hub's clock before ours: tokens end by that one. */
  let skewMs = 0

  function stop(): void {
    clearTimeout(timer)
    timer = undefined
  }

  function follow(expiresAt: string | null | undefined): void {
    stop()
    if (expiresAt == null) return
    endsAt = Date.parse(expiresAt) - skewMs
    wait()
  }

  function wait(): void {
    const delayMs = Math.min(MAX_MS, Math.max(MIN_MS, (endsAt - Date.now()) * PART))
    timer = setTimeout(() => void (delayMs === MAX_MS ? wait() : refresh()), delayMs)
  }

  async function refresh(): Promise<void> {
    const started = timer
    let token: string | undefined
    try {
      token = await fetchToken()
    } catch {
      // Tried again in what is left of the old one.
    }
    if (timer !== started) return
    if (token === undefined) wait()
    else once({ type: 'auth', token }, (result) => follow((result as AuthResult).expiresAt), wait)
  }

  return {
    resume({ expiresAt, time }) {
      skewMs = Date.parse(time) - Date.now()
      follow(expiresAt)
    },
    stop,
  }
}
