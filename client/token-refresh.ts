import type { AuthResult, ErrorReply, Ok, Welcome } from '../protocol/replies.ts'
import type { Asked } from './calls.ts'

/** The part of what is left of a token's life after which the next one is fetched. */
const PART = 0.8
/** Milliseconds between tries at least. */
const MIN_MS = 1000
/** The longest time a timer takes. */
const MAX_MS = 2 ** 31 - 1

/** Sends a fresh token while a session lives, before the one it has ends; what fails is tried again in what is left. */
export class TokenRefresh {
  readonly #token: () => string | Promise<string>
  readonly #ask: (command: Asked, settle: (reply: Ok | ErrorReply) => void) => void
  #timer: ReturnType<typeof setTimeout> | undefined
  /** The hub's clock before ours: tokens end by that one. */
  #skewMs = 0
  #expiresAt = 0

  constructor(
    token: () => string | Promise<string>,
    ask: (command: Asked, settle: (reply: Ok | ErrorReply) => void) => void,
  ) {
    this.#token = token
    this.#ask = ask
  }

  opened({ expiresAt, time }: Welcome): void {
    this.#skewMs = Date.parse(time) - Date.now()
    this.#set(expiresAt)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #set(expiresAt: string | null | undefined): void {
    this.stop()
    if (expiresAt == null) return
    this.#expiresAt = Date.parse(expiresAt)
    this.#wait()
  }

  #wait(): void {
    const leftMs = this.#expiresAt - Date.now() - this.#skewMs
    const delayMs = Math.min(MAX_MS, Math.max(MIN_MS, leftMs * PART))
    this.#timer = setTimeout(() => void (delayMs === MAX_MS ? this.#wait() : this.#refresh()), delayMs)
  }

  async #refresh(): Promise<void> {
    const timer = this.#timer
    const token = await Promise.resolve()
      .then(this.#token)
      .catch(() => null)
    if (timer !== this.#timer) return
    if (token === null) return this.#wait()
    this.#ask({ type: 'auth', token }, (reply) => {
      if (reply.type === 'ok') this.#set((reply.result as AuthResult).expiresAt)
      else this.#wait()
    })
  }
}
