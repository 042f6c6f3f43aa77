import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import * as z from 'zod'
import { ClaimError, toPrincipal } from './claims.ts'
import type { Principal } from './principal.ts'

/** One token that counts: what it is recognised by, and whose it is. */
export interface TokenEntry {
  /** SHA-256 of the token. */
  readonly hash: Buffer
  readonly principal: Principal
}

export const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest()

/** Strict: a misspelt field would permit more, or for longer, than was meant. */
const entrySchema = z.strictObject({
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, 'must be 64 hexadecimal digits')
    .optional(),
  token: z
    .string()
    .min(16, 'must have at least 16 characters')
    .max(16_384)
    // RFC 6750, 2.1: what `Authorization: Bearer` carries.
    .regex(/^[A-Za-z0-9._~+/=-]*$/, 'must be of A-Z a-z 0-9 . _ ~ + / = -, which headers carry')
    .optional(),
  sub: z.string(),
  namespaces: z.union([z.string(), z.array(z.string())]).optional(),
  permissions: z.union([z.array(z.string()), z.record(z.string(), z.unknown())]).optional(),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
})

/** The file is not there, or not what it should be; the message shows no token. */
export class TokenFileError extends Error {
  override readonly name = 'TokenFileError'
}

function toEntry(value: unknown, index: number): TokenEntry {
  const where = `entry ${index + 1}`
  const parsed = entrySchema.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new TokenFileError(`${where}: ${[...(issue?.path ?? []), issue?.message].join(' ')}`)
  }
  const { sha256, token, sub, namespaces, permissions, expiresAt } = parsed.data
  if ((sha256 === undefined) === (token === undefined))
    throw new TokenFileError(`${where} (sub "${sub}"): give either sha256 or token`)
  const hash = token === undefined ? Buffer.from(sha256 ?? '', 'hex') : hashOf(token)
  const exp = expiresAt === undefined ? null : Date.parse(expiresAt) / 1_000
  try {
    const claims = { sub, ns: namespaces, mesh: permissions, exp }
    return { hash, principal: toPrincipal(claims, hash.toString('hex')) }
  } catch (error) {
    if (!(error instanceof ClaimError)) throw error
    throw new TokenFileError(
      `${where}: ${error.message.replace(/^ns/, 'namespaces').replace(/^mesh/, 'permissions')}`,
    )
  }
}

/** The entries of a file's text, a JSON list. @throws TokenFileError naming the entry and what is wrong with it */
export function parseTokens(text: string): readonly TokenEntry[] {
  let values: unknown
  try {
    values = JSON.parse(text)
  } catch {
    // What JSON.parse says shows a part of the text.
    throw new TokenFileError('it is no JSON')
  }
  if (!Array.isArray(values)) throw new TokenFileError('it must be a JSON list of tokens')
  const entries = values.map(toEntry)
  const seen = new Set<string>()
  for (const [index, { hash }] of entries.entries()) {
    const hex = hash.toString('hex')
    if (seen.has(hex)) throw new TokenFileError(`entry ${index + 1}: its token is listed twice`)
    seen.add(hex)
  }
  return entries
}

/** A file as it was read: its tokens, and what tells that it is another one now. */
export interface TokenFile {
  readonly entries: readonly TokenEntry[]
  readonly version: string
}

/** What changes when a file is written or replaced, also where its path leads over links that now lead elsewhere. */
export async function versionOf(path: string): Promise<string> {
  // What copies a file may keep its length and the time of its contents; that of its last change of any kind is the system's own.
  const { ino, size, mtimeMs, ctimeMs } = await stat(path)
  return `${ino} ${size} ${mtimeMs} ${ctimeMs}`
}

/** @throws TokenFileError, or what reading a file throws */
export async function readTokens(path: string): Promise<TokenFile> {
  // The version first: what is written meanwhile is read again.
  const version = await versionOf(path)
  return { version, entries: parseTokens(await readFile(path, 'utf8')) }
}
