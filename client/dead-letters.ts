import { MeshError } from '../protocol/errors.ts'
import type {
  DeadLetterInfo,
  DeadLettersListResult,
  DeadLettersPurgeResult,
  DeadLettersRedriveResult,
} from '../protocol/replies.ts'
import type { Asked, WaitOptions } from './calls.ts'

/** Which dead letters are meant; each field that is given has to match. */
export interface DeadLetterWhere {
  /** Whom it was for, or who had it last. */
  readonly agentId?: string
  /** Whose work queue it was in. */
  readonly capability?: string
  /** The sender's agent id. */
  readonly from?: string
  readonly messageId?: string
  readonly messageType?: string
  readonly reason?: string
}

/** Dead letters by the `position` of each (1 to 1,000 of them), or all that match; `{ where: {} }` means every one. */
export type DeadLetterChoice = { readonly positions: readonly string[] } | { readonly where: DeadLetterWhere }

export interface DeadLetterListOptions extends WaitOptions {
  /** Dead letters in one page, 1 to 1,000. Default 100. */
  readonly limit?: number
  /** Of the page before. */
  readonly cursor?: string | null
  /** Whether the payloads are listed too. Default false. */
  readonly payload?: boolean
}

type Ask = <Result>(command: Asked, options: WaitOptions) => Promise<Result>

/** What the namespace has given up. All methods throw MeshError, as the hub says or `timeout`, `closed`. */
export class DeadLetters {
  readonly #ask: Ask

  constructor(ask: Ask) {
    this.#ask = ask
  }

  /** One page, in the order in which they were given up. */
  list(
    where: DeadLetterWhere = {},
    { limit, cursor, payload, ...wait }: DeadLetterListOptions = {},
  ): Promise<DeadLettersListResult> {
    return this.#ask({ type: 'dead-letters.list', where, limit, cursor, payload }, wait)
  }

  /** All that match, page by page as they are read. */
  async *listAll(
    where: DeadLetterWhere = {},
    options: Omit<DeadLetterListOptions, 'cursor'> = {},
  ): AsyncGenerator<DeadLetterInfo, undefined> {
    let cursor: string | null = null
    do {
      const page: DeadLettersListResult = await this.list(where, { ...options, cursor })
      yield* page.deadLetters
      cursor = page.cursor
    } while (cursor !== null)
    return undefined
  }

  /**
   * Stores them once more where they were, with no failed attempts and without a time to live that has ended; what could not be
   * stored is in `failed` and stays. Asked again after a reconnection, it counts what the last try did.
   */
  redrive(choice: DeadLetterChoice, options: WaitOptions = {}): Promise<DeadLettersRedriveResult> {
    return this.#choose('dead-letters.redrive', choice, options)
  }

  /** Deletes them. Asked again after a reconnection, it counts what the last try did. */
  purge(choice: DeadLetterChoice, options: WaitOptions = {}): Promise<DeadLettersPurgeResult> {
    return this.#choose('dead-letters.purge', choice, options)
  }

  /** Refuses a field without a value: it would be left out on its way, and mean any. */
  async #choose<Result>(type: string, choice: DeadLetterChoice, options: WaitOptions): Promise<Result> {
    const [empty] = Object.entries('where' in choice ? choice.where : choice).filter(
      ([, value]) => value == null,
    )
    if (empty !== undefined)
      throw new MeshError('bad_frame', `${empty[0]} has no value; give it one or leave it out`)
    return this.#ask({ type, ...choice }, options)
  }
}
