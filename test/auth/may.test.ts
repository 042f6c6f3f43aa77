import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  parsePermission,
  permissionText,
  type SubjectKind,
  type Verb,
  VERBS,
} from '../../src/auth/permission.ts'
import { ANYBODY, may, owns, type Principal } from '../../src/auth/principal.ts'

const principal = (...permissions: string[]): Principal => ({
  ...ANYBODY,
  subject: 'bot',
  permissions: permissions.map(parsePermission),
})

/** Permissions, verb, subject, whether it is permitted. */
const TABLE: readonly (readonly [permissions: string[], Verb, SubjectKind, string, boolean])[] = [
  [[], 'send', 'agent', 'a1', false],
  [['send'], 'send', 'agent', 'a1', true],
  [['send'], 'send', 'name', 'worker', true],
  [['send'], 'send', 'role', 'leader', true],
  [['send:*'], 'send', 'capability', 'nlp', true],
  [['send'], 'broadcast', 'role', 'all', false],
  [['send'], 'admin', 'namespace', 'default', false],
  [['send:a1'], 'send', 'agent', 'a1', true],
  [['send:a1'], 'send', 'agent', 'a12', false],
  [['send:a1'], 'send', 'agent', 'A1', false],
  [['send:a*'], 'send', 'agent', 'a12', true],
  [['send:a*'], 'send', 'agent', 'ba1', false],
  // A pattern of ids is none of names, queues or roles, whatever these are called.
  [['send:a*'], 'send', 'name', 'a1', false],
  [['send:n*'], 'send', 'name', 'name=x', false],
  [['send:l*'], 'send', 'role', 'leader', false],
  [['send:nlp'], 'send', 'capability', 'nlp', false],
  [['send:agent=a*'], 'send', 'agent', 'a1', true],
  [['send:agent=*'], 'send', 'name', 'a1', false],
  [['send:name=worker-*'], 'send', 'name', 'worker-7', true],
  [['send:name=worker-*'], 'send', 'agent', 'worker-7', false],
  [['send:capability=nlp'], 'send', 'capability', 'nlp', true],
  [['send:role=leader'], 'send', 'role', 'leader', true],
  [['send:role=leader'], 'send', 'agent', 'leader', false],
  [['send:team:*'], 'send', 'agent', 'team:3', true],
  [['send:x', 'send:y'], 'send', 'agent', 'y', true],
  [['broadcast:eu'], 'broadcast', 'group', 'eu', true],
  [['broadcast:eu'], 'broadcast', 'role', 'all', false],
  [['broadcast:*'], 'broadcast', 'role', 'all', true],
  [['broadcast:group=*'], 'broadcast', 'role', 'all', false],
  [['broadcast:role=all'], 'broadcast', 'role', 'all', true],
  [['broadcast:capability=nlp'], 'broadcast', 'capability', 'nlp', true],
  [['broadcast:capability=nlp'], 'send', 'capability', 'nlp', false],
  [['serve:nlp-*'], 'serve', 'capability', 'nlp-de', true],
  [['serve:nlp-*'], 'serve', 'capability', 'nlp', false],
  [['register:bot:*'], 'register', 'agent', 'bot:1', true],
  [['register:bot:*'], 'register', 'agent', 'bot', false],
  [['discover'], 'discover', 'namespace', 'default', true],
  [['discover'], 'watch', 'namespace', 'default', false],
  [['watch:staging'], 'watch', 'namespace', 'default', false],
  [['lead:staging'], 'lead', 'namespace', 'staging', true],
  [['admin:staging'], 'admin', 'namespace', 'staging', true],
  [['admin:staging'], 'admin', 'namespace', 'default', false],
  [['*'], 'admin', 'namespace', 'default', true],
  [['*'], 'send', 'role', 'leader', true],
]

describe('may', () => {
  it.each(TABLE)('%j may %s to %s %j: %s', (permissions, verb, kind, value, permitted) => {
    expect(may(principal(...permissions), verb, { kind, value })).toBe(permitted)
  })

  const verbs = Object.keys(VERBS) as Verb[]
  const subjectOf = (verb: Verb) =>
    fc.record({ kind: fc.constantFrom(...VERBS[verb]), value: fc.string({ minLength: 1, maxLength: 40 }) })
  const action = fc
    .constantFrom(...verbs)
    .chain((verb) => subjectOf(verb).map((subject) => ({ verb, subject })))

  it('permits nothing to who has no permission, and everything to anybody while authentication is off', () => {
    fc.assert(
      fc.property(action, ({ verb, subject }) => {
        expect(may(principal(), verb, subject)).toBe(false)
        expect(may(ANYBODY, verb, subject)).toBe(true)
      }),
    )
  })

  it('permits what the remedy that a refusal names asks for, and no other verb', () => {
    fc.assert(
      fc.property(action, action, ({ verb, subject }, other) => {
        fc.pre(!subject.value.includes('*') && !subject.value.includes('='))
        const one = principal(permissionText(verb, subject))
        expect(may(one, verb, subject)).toBe(true)
        if (other.verb !== verb) expect(may(one, other.verb, other.subject)).toBe(false)
      }),
    )
  })

  it('permits no less with one permission more', () => {
    const text = action.map(({ verb, subject }) => `${verb}:${subject.value.replaceAll('=', '-')}`)
    fc.assert(
      fc.property(fc.array(text, { maxLength: 5 }), text, action, (texts, more, { verb, subject }) => {
        if (may(principal(...texts), verb, subject))
          expect(may(principal(...texts, more), verb, subject)).toBe(true)
      }),
    )
  })
})

describe('a permission', () => {
  it.each([
    'sned',
    'sned:a1',
    '',
    ':',
    'send:',
    'Send',
    '*:a1',
    '**',
    'send:group=eu',
    'serve:agent=a1',
    'send:name=',
    'toString',
    '__proto__:x',
    `send:${'x'.repeat(257)}`,
  ])('that is %j is none', (text) => {
    expect(() => parsePermission(text)).toThrow(RangeError)
  })
})

describe('owns', () => {
  it.each([
    ['bot', 'bot', true],
    ['bot', 'bot:1', true],
    ['bot', 'bot:a:b', true],
    ['bot', 'bot:', true],
    ['bot', 'bots', false],
    ['bot', 'bot.1', false],
    ['bot', 'other:bot', false],
    ['bot:1', 'bot', false],
    [null, 'whatever', true],
  ])('%j owns %j: %s', (subject, agentId, owned) => {
    expect(owns({ ...ANYBODY, subject }, agentId)).toBe(owned)
  })
})
