import { compilePattern, type Pattern } from './pattern.ts'

/** What a principal may be permitted, and the kinds of subject each is about; the first kind is what a pattern without one means. */
export const VERBS = {
  register: ['agent'],
  send: ['agent', 'name', 'capability', 'role'],
  broadcast: ['group', 'capability', 'role'],
  serve: ['capability'],
  discover: ['namespace'],
  watch: ['namespace'],
  lead: ['namespace'],
  admin: ['namespace'],
} as const

export type Verb = keyof typeof VERBS
export type SubjectKind = (typeof VERBS)[Verb][number]

/** What an action is done to: an agent by id or name, a capability, a group, a namespace, or by `role` the `leader` or `all`. */
export interface Subject {
  readonly kind: SubjectKind
  readonly value: string
}

/** One verb on the subjects that match. `verb` or `kind` null: any. */
export interface Permission {
  readonly verb: Verb | null
  readonly kind: SubjectKind | null
  readonly matches: Pattern
}

const ANYTHING: Pattern = () => true

const isVerb = (text: string): text is Verb => Object.hasOwn(VERBS, text)

/**
 * Reads a permission: `verb` or `verb:*` (any subject), `verb:pattern`, `verb:kind=pattern`, or `*` for every verb on every subject.
 * @throws RangeError naming what is wrong with it
 */
export function parsePermission(text: string): Permission {
  if (text === '*') return { verb: null, kind: null, matches: ANYTHING }
  const colon = text.indexOf(':')
  const verb = colon === -1 ? text : text.slice(0, colon)
  if (!isVerb(verb)) throw new RangeError(`it begins with none of ${Object.keys(VERBS).join(', ')}`)
  const rest = colon === -1 ? '*' : text.slice(colon + 1)
  if (rest === '*') return { verb, kind: null, matches: ANYTHING }
  const kinds: readonly SubjectKind[] = VERBS[verb]
  const equals = rest.indexOf('=')
  const named = kinds.find((kind) => equals !== -1 && kind === rest.slice(0, equals))
  if (equals !== -1 && !named)
    throw new RangeError(`what stands before "=" is none of ${kinds.join(', ')}, what ${verb} is about`)
  const pattern = named ? rest.slice(equals + 1) : rest
  return { verb, kind: named ?? VERBS[verb][0], matches: compilePattern(pattern) }
}

/** The permission that would allow this and nothing else: `send:a2`, `send:name=worker`. */
export function permissionText(verb: Verb, { kind, value }: Subject): string {
  return VERBS[verb][0] === kind ? `${verb}:${value}` : `${verb}:${kind}=${value}`
}
