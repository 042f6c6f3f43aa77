import type {
  DeadLetterInfo,
  DeadLettersListResult,
  DeadLettersPurgeResult,
  DeadLettersRedriveResult,
} from '../protocol/replies.ts'
import type { Command, WaitOptions } from './calls.ts'
import { badFrame } from './errors.ts'
import { allPages } from './pages.ts'

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

type Ask = <Result>(command: Command, options: WaitOptions) => Promise<Result>

/** What the namespace has given up. All methods throw MeshError, as the hub says or `timeout`, `closed`. */
export interface DeadLetters {
  /** One page, in the order in which they were given up. */
  list(where?: DeadLetterWhere, options?: DeadLetterListOptions): Promise<DeadLettersListResult>
  /** All that match, page by page as they are read. */
  listAll(
    where?: DeadLetterWhere,
    options?: Omit<DeadLetterListOptions, 'cursor'>,
  ): AsyncGenerator<DeadLetterInfo, undefined>
  /**
   * Stores them once more where they were, with no failed attempts and without a time to live that has ended; what could not be
   * stored is in `failed` and stays. Asked again after a reconnection, it counts what the last try did.
   */
  redrive(choice: DeadLetterChoice, options?: WaitOptions): Promise<DeadLettersRedriveResult>
  /** Deletes them. Asked again after a reconnection, it counts what the last try did. */
  purge(choice: DeadLetterChoice, options?: WaitOptions): Promise<DeadLettersPurgeResult>
}

export function createDeadLetters(ask: Ask): DeadLetters {
  function list(
    where: DeadLetterWhere = {},
    { limit, cursor, payload, ...wait }: DeadLetterListOptions = {},
  ): Promise<DeadLettersListResult> {
    return ask({ type: 'dead-letters.list', where, limit, cursor, payload }, wait)
  }

  /** Refuses a field without a value: it would be left out on its way, and mean any. */
  async function choose<Result>(
    type: string,
    choice: DeadLetterChoice,
    options: WaitOptions = {},
  ): Promise<Result> {
    const fields = Object.entries('where' in choice ? choice.where : choice)
    for (const [field, value] of fields) {
      if (value == null) throw badFrame(`${field} has no value; give it one or leave it out`)
    }
    return ask({ type, ...choice }, options)
  }

  return {
    list,
    listAll: (where, options) =>
      allPages(
        (cursor) => list(where, { ...options, cursor }),
        ({ deadLetters }) => deadLetters,
      ),
    redrive: (choice, options) => choose('dead-letters.redrive', choice, options),
    purge: (choice, options) => choose('dead-letters.purge', choice, options),
  }
}
