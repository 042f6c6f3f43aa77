import { compilePattern, type Pattern } from './pattern.ts'
import { parsePermission, type Permission } from './permission.ts'
import type { Principal } from './principal.ts'

/** What a token says of its principal, unread. */
export interface Claims {
  readonly sub: unknown
  /** A namespace or a list of them, `*` in them stands for any characters; absent: `default` only. */
  readonly ns: unknown
  /** A list of permissions, one of them, or an object from verb to `true`, a pattern or a list of patterns; absent: none. */
  readonly mesh: unknown
  /** Seconds since 1970; absent: never. */
  readonly exp: unknown
}

/** Agent ids begin with it, and so have to be what PROTOCOL.md section 2 asks of them. */
const SUBJECT = /^[A-Za-z0-9._:-]{1,128}$/
const PERMISSIONS_MAX = 256
const NAMESPACES_MAX = 256
/** Later than that `Date` knows no day. */
const EXP_MAX_S = 8_640_000_000_000

/** A claim that is against its rule. The message never shows a token. */
export class ClaimError extends Error {
  override readonly name = 'ClaimError'
}

const isStrings = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string')

const shown = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)

function subjectOf(sub: unknown): string {
  if (typeof sub === 'string' && SUBJECT.test(sub)) return sub
  throw new ClaimError('sub must be 1 to 128 of A-Z a-z 0-9 . _ : -, since agent ids begin with it')
}

function namespacesOf(ns: unknown): readonly Pattern[] {
  const names = ns == null ? ['default'] : typeof ns === 'string' ? [ns] : ns
  if (!isStrings(names) || names.length > NAMESPACES_MAX)
    throw new ClaimError(`ns must be a namespace or a list of at most ${NAMESPACES_MAX}`)
  return names.map((name) => {
    if (!/^[a-z0-9*-]{1,64}$/.test(name))
      throw new ClaimError(`ns: ${shown(name)} must be 1 to 64 of a-z 0-9 - and * for any characters`)
    return compilePattern(name)
  })
}

/** Verb → `true`, a pattern or a list of patterns, as texts of permissions. */
function textsOf(byVerb: object): readonly string[] {
  return Object.entries(byVerb).flatMap(([verb, patterns]: [string, unknown]) => {
    if (patterns === true) return [verb]
    if (patterns === false) return []
    if (typeof patterns === 'string') return [`${verb}:${patterns}`]
    if (isStrings(patterns)) return patterns.map((pattern) => `${verb}:${pattern}`)
    throw new ClaimError(`mesh: ${shown(verb)} must be true, false, a pattern or a list of patterns`)
  })
}

function permissionsOf(mesh: unknown): readonly Permission[] {
  if (mesh == null) return []
  const texts =
    typeof mesh === 'string'
      ? [mesh]
      : typeof mesh === 'object' && !Array.isArray(mesh)
        ? textsOf(mesh)
        : mesh
  if (!isStrings(texts) || texts.length > PERMISSIONS_MAX)
    throw new ClaimError(
      `mesh must be a list of at most ${PERMISSIONS_MAX} permissions like "send:worker-*", or an object of them by verb`,
    )
  return texts.map((text) => {
    try {
      return parsePermission(text)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw new ClaimError(`mesh: ${shown(text)} is no permission: ${error.message}`)
    }
  })
}

function expiryOf(exp: unknown): number | null {
  if (exp == null) return null
  if (typeof exp === 'number' && exp >= 0 && exp <= EXP_MAX_S) return Math.floor(exp * 1_000)
  throw new ClaimError('exp must be seconds since 1970')
}

/**
 * The principal that claims describe.
 * @throws ClaimError naming the claim and its rule; nothing of a token that is wrong in one place is used
 */
export function toPrincipal({ sub, ns, mesh, exp }: Claims, tokenId: string | null): Principal {
  return {
    subject: subjectOf(sub),
    namespaces: namespacesOf(ns),
    permissions: permissionsOf(mesh),
    expiresAt: expiryOf(exp),
    tokenId,
  }
}
