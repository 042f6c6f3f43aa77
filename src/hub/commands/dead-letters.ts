import type {
  DeadLettersList,
  DeadLettersPurge,
  DeadLettersRedrive,
  DeadWhere,
} from '../../../protocol/commands.ts'
import { MeshError } from '../../../protocol/errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { DeadLettersListResult, DeadLettersRedriveResult } from '../../../protocol/replies.ts'
import type { DeadLetter } from '../../core/dead-letters.ts'
import type { Context } from '../dispatch.ts'
import { matches, toInfo, toRedrive } from '../dead-letter-info.ts'
import type { Namespace } from '../namespace.ts'

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

/** `dead-letters.list`: a page of those that match, of at most 256 KiB unless one alone is larger. */
export async function listDeadLetters(
  { connection, namespace }: Context,
  { ref, where, payload, limit, cursor }: DeadLettersList,
): Promise<void> {
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
  connection.reply(ref, `{"deadLetters":[${texts.join(',')}],${JSON.stringify(rest).slice(1)}`)
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

/** `dead-letters.redrive`: stores them once more where they were; what cannot be stored stays, and is told. */
export async function redriveDeadLetters(
  { connection, namespace }: Context,
  { ref, positions, where }: DeadLettersRedrive,
): Promise<void> {
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
  connection.reply(ref, JSON.stringify({ redriven, failed }))
}

/** `dead-letters.purge`: deletes them. */
export async function purgeDeadLetters(
  { connection, namespace }: Context,
  { ref, positions, where }: DeadLettersPurge,
): Promise<void> {
  let purged = 0
  for await (const letters of chosen(namespace, positions, where)) {
    const page = letters.map(({ position }) => position)
    purged += await namespace.core.deadLetters.purge(namespace.name, page)
  }
  connection.reply(ref, JSON.stringify({ purged }))
}
