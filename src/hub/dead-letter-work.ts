import type { DeadWhere } from '../../protocol/commands.ts'
import { MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type {
  DeadLettersListResult,
  DeadLettersPurgeResult,
  DeadLettersRedriveResult,
} from '../../protocol/replies.ts'
import type { DeadLetter } from '../core/dead-letters.ts'
import { matches, toInfo, toRedrive } from './dead-letter-info.ts'
import type { Namespace } from './namespace.ts'

/** Read at once: each may be as large as a message. */
const PAGE = 64

/** All dead letters after `position`, in the order they came, read as they are asked for. */
async function* lettersAfter(
  { core, name }: Namespace,
  position: string | null,
): AsyncGenerator<DeadLetter, undefined> {
  let after = position
  for (;;) {
    const page = await core.deadLetters.list(name, after, PAGE)
    yield* page
    const last = page.at(-1)
    if (!last || page.length < PAGE) return undefined
    after = last.position
  }
}

/** A position as a hub gave it: two numbers, or one. @throws MeshError `bad_frame` */
function parsePosition(position: string): string {
  if (/^\d{1,20}(-\d{1,20})?$/.test(position)) return position
  throw new MeshError('bad_frame', `${JSON.stringify(position)} is no position of a dead letter; list them`)
}

/** Those that a `redrive` or `purge` names, page by page. @throws MeshError `bad_frame` where it names none, or both ways */
async function* chosen(
  namespace: Namespace,
  positions: readonly string[] | null | undefined,
  where: DeadWhere | null | undefined,
): AsyncGenerator<readonly DeadLetter[], undefined> {
  if ((positions == null) === (where == null)) {
    throw new MeshError(
      'bad_frame',
      'name dead letters either by "positions" or by "where" ({} means all); not both, not neither',
    )
  }
  const empty = Object.entries(where ?? {}).find(([, value]) => value === null)
  if (empty) {
    throw new MeshError(
      'bad_frame',
      `where.${empty[0]} is null, which would mean any; give it a value or leave it out`,
    )
  }
  const { core, name } = namespace
  if (positions) {
    const known = [...new Set(positions.map(parsePosition))]
    for (let at = 0; at < known.length; at += PAGE)
      yield await core.deadLetters.get(name, known.slice(at, at + PAGE))
    return undefined
  }
  // Not those that come while this works: a message redriven may be given up again at once.
  let left = (await core.deadLetters.count(name)).kept
  for (let after: string | null = null; left > 0; left -= PAGE) {
    const page: readonly DeadLetter[] = await core.deadLetters.list(name, after, Math.min(left, PAGE))
    yield page.filter((letter) => matches(toInfo(letter, false), where))
    after = page.at(-1)?.position ?? null
    if (after === null) break
  }
  return undefined
}

/** Which dead letters a request lists. */
export interface DeadLettersQuery {
  readonly where?: DeadWhere | null | undefined
  readonly payload?: boolean | null | undefined
  readonly limit?: number | null | undefined
  readonly cursor?: string | null | undefined
}

/** Which dead letters a request is about: by their positions, or all that match (`{}`: all). */
export interface DeadLettersChoice {
  readonly positions?: readonly string[] | null | undefined
  readonly where?: DeadWhere | null | undefined
}

/**
 * A page of those that match, of at most 256 KiB unless one alone is larger; as JSON of {@link DeadLettersListResult}.
 * @throws MeshError `bad_frame` where the cursor is none
 */
export async function deadLetterPage(
  namespace: Namespace,
  { where, payload, limit, cursor }: DeadLettersQuery,
): Promise<string> {
  const max = limit ?? LIMITS.discoverLimitDefault
  const texts: string[] = []
  let bytes = 0
  let last: string | null = null
  let next: string | null = null
  for await (const letter of lettersAfter(namespace, cursor == null ? null : parsePosition(cursor))) {
    const info = toInfo(letter, payload ?? false)
    if (!matches(info, where)) continue
    const text = JSON.stringify(info)
    bytes += text.length
    if (texts.length === max || (texts.length > 0 && bytes > LIMITS.pageBytes)) {
      next = last
      break
    }
    texts.push(text)
    last = letter.position
  }
  const counts = await namespace.core.deadLetters.count(namespace.name)
  const rest: Omit<DeadLettersListResult, 'deadLetters'> = { cursor: next, ...counts }
  return `{"deadLetters":[${texts.join(',')}],${JSON.stringify(rest).slice(1)}`
}

/** Stores them once more where they were; what cannot be stored stays, and is told. @throws MeshError `bad_frame` */
export async function redriveDeadLetters(
  namespace: Namespace,
  { positions, where }: DeadLettersChoice,
): Promise<DeadLettersRedriveResult> {
  let redriven = 0
  const failed: DeadLettersRedriveResult['failed'][number][] = []
  for await (const letters of chosen(namespace, positions, where)) {
    const redrives = letters.map(toRedrive)
    const outcomes = await namespace.core.deadLetters.redrive(namespace.name, redrives)
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome === 'redriven') redriven++
      else if (outcome !== 'gone') failed.push({ position: redrives[index]?.position ?? '', code: outcome })
    }
  }
  return { redriven, failed }
}

/** Deletes them. @throws MeshError `bad_frame` */
export async function purgeDeadLetters(
  namespace: Namespace,
  { positions, where }: DeadLettersChoice,
): Promise<DeadLettersPurgeResult> {
  let purged = 0
  for await (const letters of chosen(namespace, positions, where)) {
    const page = letters.map(({ position }) => position)
    purged += await namespace.core.deadLetters.purge(namespace.name, page)
  }
  return { purged }
}
