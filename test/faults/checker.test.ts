import { describe as group, expect, test } from 'vitest'
import { check } from './checker.ts'
import type { Entry, Happening, Lane } from './history.ts'
import { explain } from './violation.ts'

/** A history of these, a second apart. */
const historyOf = (...happenings: readonly Happening[]): Entry[] =>
  happenings.map((happening, i) => ({ n: i + 1, at: 1_000 * (i + 1), ...happening }))

const verdict = (...happenings: readonly Happening[]): string[] =>
  check(historyOf(...happenings)).map(({ rule, what }) => `${rule}: ${what}`)

const joined = (agent: string, handles: 'bundled' | 'raw' = 'bundled'): Happening => ({
  kind: 'joined',
  client: `${agent}#1`,
  agent,
  handles,
})
type Sent = Extract<Happening, { kind: 'sent' }>
const sent = (key: string, more: Partial<Sent> = {}): Happening => ({
  kind: 'sent',
  client: 'a#1',
  key,
  lane: 'inbox',
  owed: ['b'],
  receipt: false,
  term: null,
  session: null,
  ...more,
})
const ok = (key: string, client = 'a#1'): Happening => ({
  kind: 'answered',
  client,
  key,
  id: `id-${key}`,
  code: null,
})
const refused = (key: string): Happening => ({
  kind: 'answered',
  client: 'a#1',
  key,
  id: null,
  code: 'inbox_full',
})
const received = (key: string, agent = 'b', attempt = 1, lane: Lane = 'inbox', session = 1): Happening => ({
  kind: 'received',
  client: `${agent}#1`,
  session,
  key,
  id: `id-${key}`,
  lane,
  attempt,
})
const processed = (key: string, agent = 'b'): Happening => ({
  kind: 'processed',
  client: `${agent}#1`,
  key,
  id: `id-${key}`,
})
const receipt = (key: string, status: string, agent: string | null = 'b', settledAt = 5_000): Happening => ({
  kind: 'receipt',
  client: 'a#1',
  id: `id-${key}`,
  status,
  agent,
  reason: null,
  settledAt,
})
const list = (client: string, revision: number, agents: Record<string, string>): Happening => ({
  kind: 'list',
  client,
  revision,
  agents,
  leader: null,
  term: 0,
})
const updated = (client: string, revision: number, text: string): Happening => ({
  kind: 'event',
  client,
  revision,
  event: 'agent.updated',
  agent: 'a',
  text,
  term: null,
})
const elected = (client: string, revision: number, agent: string, term: number): Happening => ({
  kind: 'event',
  client,
  revision,
  event: 'leader.changed',
  agent,
  text: null,
  term,
})
const cast = [joined('a'), joined('b'), joined('c', 'raw')]

group('what is stored', () => {
  test('is processed by all it is owed to, or a dead letter of those who did not', () => {
    const many = sent('1', { owed: ['b', 'c'], lane: 'broadcast' })
    const back: Happening = { kind: 'gave-back', client: 'c#1', key: '1', id: 'id-1', requeue: false }
    const dead: Happening = { kind: 'dead', id: 'id-1', agent: 'c', reason: 'not now' }
    expect(verdict(...cast, many, ok('1'), processed('1'), back, dead)).toEqual([])
    expect(verdict(...cast, many, ok('1'), processed('1'), dead)).toEqual([
      'stored: "1" was given up (not now), and c never gave it back',
    ])
    expect(verdict(...cast, many, ok('1'), processed('1'))).toEqual([
      'stored: "1" was stored and is gone: never processed by c, no dead letter',
    ])
  })

  test('is not what was refused, or never answered', () => {
    expect(verdict(...cast, sent('1'), refused('1'), sent('2'))).toEqual([])
  })

  test('and only stays there is told as such', () => {
    const kept: Happening = { kind: 'kept', agent: 'b', key: '1', id: 'id-1' }
    expect(verdict(...cast, sent('1'), ok('1'), kept)).toEqual([
      'arrival: "1" was never processed by b, though it is stored',
    ])
  })
})

group('first deliveries', () => {
  const all = [...cast, sent('1'), sent('2')]
  test('come in the order of sending', () => {
    expect(verdict(...all, received('1'), received('2'))).toEqual([])
    expect(verdict(...all, received('2'), received('1'))).toEqual([
      'order: of a#1 > b, inbox: "1" was sent before "2" and came after it',
    ])
  })

  test('are judged within a lane, and apart from redeliveries', () => {
    expect(verdict(...cast, sent('1'), sent('2', { lane: 'replies' }), received('2'), received('1'))).toEqual(
      [],
    )
    const again = [received('1', 'c', 1), received('2', 'c', 1), received('1', 'c', 2, 'inbox', 2)]
    expect(verdict(...all, ...again)).toEqual([])
  })
})

group('a handler', () => {
  test('is called once for a message, unless that was given back', () => {
    const gaveBack: Happening = { kind: 'gave-back', client: 'b#1', key: '1', id: 'id-1', requeue: true }
    expect(verdict(...cast, sent('1'), received('1'), gaveBack, received('1', 'b', 2))).toEqual([])
    expect(verdict(...cast, sent('1'), received('1'), received('1', 'b', 2))).toEqual([
      'once: b#1 handled "1" twice',
    ])
  })

  test('of a raw client may get it once a session', () => {
    expect(verdict(...cast, sent('1'), received('1', 'c'), received('1', 'c', 2, 'inbox', 2))).toEqual([])
    expect(verdict(...cast, sent('1'), received('1', 'c'), received('1', 'c', 2))).toEqual([
      'once: c#1 was pushed "1" twice in one session',
    ])
  })

  test('never gets a message that is stored twice', () => {
    const copy: Happening = { ...received('1'), id: 'id-other' } as Happening
    expect(verdict(...cast, sent('1'), received('1'), copy)).toEqual([
      'once: "1" is stored twice, as id-1 and id-other',
    ])
  })
})

group('work', () => {
  const task = [...cast, sent('1', { lane: 'queue', owed: null, receipt: true }), ok('1')]
  test('goes to somebody else as another attempt', () => {
    const late = [received('1', 'c', 1, 'queue'), received('1', 'b', 2, 'queue'), processed('1')]
    expect(verdict(...task, ...late, receipt('1', 'acked'))).toEqual([])
    const both = [received('1', 'c', 1, 'queue'), received('1', 'b', 1, 'queue'), processed('1')]
    expect(verdict(...task, ...both, receipt('1', 'acked'))).toEqual([
      'holder: work id-1 was pushed to c#1 and to b#1 as attempt 1',
    ])
  })

  test('goes to nobody after an acknowledgement that counted', () => {
    const done = [received('1', 'b', 1, 'queue'), processed('1'), receipt('1', 'acked')]
    expect(verdict(...task, ...done, received('1', 'c', 2, 'queue'))).toEqual([
      'holder: work id-1 was acknowledged by b (attempt 1) and went to c#1 afterwards',
    ])
  })

  test('that was lost may reach its former holder late', () => {
    const done = [received('1', 'b', 2, 'queue'), processed('1'), receipt('1', 'acked')]
    expect(verdict(...task, ...done, received('1', 'c', 1, 'queue'))).toEqual([])
  })
})

group('a session', () => {
  const opened = (session: number): Happening => ({
    kind: 'session',
    client: 'a#1',
    session,
    hub: 'h',
    resumed: true,
  })
  test('that was taken over stores nothing any more', () => {
    const late = sent('1', { session: 1, owed: [] })
    expect(verdict(...cast, opened(1), late, opened(2), ok('1'))).toEqual([])
    expect(verdict(...cast, opened(1), opened(2), late, refused('1'))).toEqual([])
    expect(verdict(...cast, opened(1), opened(2), late, ok('1'))).toEqual([
      'session: "1" was stored, sent on a session that a#1 had taken over',
    ])
  })
})

test('a client that is ended without being asked to is told', () => {
  expect(verdict(...cast, { kind: 'ended', client: 'a#1', error: 'taken over' })).toEqual([
    'session: a#1 was ended: taken over',
  ])
})

group('a final receipt', () => {
  const tracked = [...cast, sent('1', { receipt: true }), ok('1'), received('1'), processed('1')]
  test('comes once for each message that is over; again it says the same', () => {
    expect(
      verdict(...tracked, receipt('1', 'in_progress'), receipt('1', 'acked'), receipt('1', 'acked')),
    ).toEqual([])
    expect(verdict(...tracked, receipt('1', 'in_progress'))).toEqual(['receipt: "1" has no final receipt'])
    expect(verdict(...tracked, receipt('1', 'acked'), receipt('1', 'acked', 'b', 6_000))).toEqual([
      'receipt: "1" has several final receipts',
    ])
  })

  test('is true', () => {
    expect(verdict(...tracked, receipt('1', 'acked', 'c'))).toEqual([
      'receipt: "1" has a receipt of c, which never processed it',
    ])
    expect(verdict(...tracked, receipt('1', 'dead_lettered'))).toEqual([
      'receipt: "1" was given up (null), and is not among the dead letters',
    ])
  })
})

group('a leader', () => {
  test('is the only one of its term, and the next one has a greater one', () => {
    expect(verdict(list('w', 1, {}), elected('w', 2, 'a', 2), elected('w', 3, 'b', 3))).toEqual([])
    expect(
      verdict(list('w', 1, {}), elected('w', 2, 'a', 2), list('v', 2, {}), elected('v', 3, 'b', 2)),
    ).toEqual(['leader: term 2 has two leaders, a and b'])
    expect(verdict(list('w', 1, {}), elected('w', 2, 'a', 2), elected('w', 3, 'b', 1))).toEqual([
      'leader: w saw a leader with term 1 after one with 2',
    ])
  })

  test('is who sends as one', () => {
    const claim = (key: string, term: number, client = 'a#1'): Happening[] => [
      sent(key, { client, term, owed: [] }),
      ok(key, client),
    ]
    const election = [list('w', 1, {}), elected('w', 2, 'a', 2)]
    expect(verdict(...cast, ...election, ...claim('1', 2))).toEqual([])
    expect(verdict(...cast, ...election, ...claim('1', 2, 'b#1'))).toEqual([
      'leader: term 2 has two leaders, a and b',
    ])
    expect(verdict(...cast, ...claim('1', 5, 'b#1'), ...claim('2', 4))).toEqual([
      'leader: "2" was stored for term 4 after one of term 5',
    ])
  })
})

group('a watch', () => {
  test('shows the registry at every revision, without a gap', () => {
    const one = [list('w', 1, { a: 'x' }), updated('w', 2, 'y'), updated('w', 3, 'z')]
    expect(verdict(...one, list('v', 2, { a: 'y' }), updated('v', 3, 'z'))).toEqual([])
    expect(verdict(list('w', 1, { a: 'x' }), updated('w', 3, 'z'))).toEqual([
      'watch: w saw revision 3 after 1',
    ])
    expect(verdict(...one, list('v', 2, { a: 'y' }), updated('v', 3, 'q'))).toEqual([
      'watch: revision 3 differs between w and v',
    ])
    expect(verdict(...one, list('v', 3, { a: 'z', b: 'n' }))).toEqual([
      'watch: at revision 3 w has another "b" than the list of v: none, not n',
    ])
  })
})

group('a store whose primary is replaced', () => {
  const began: Happening = { kind: 'failover', over: false }
  const over: Happening = { kind: 'failover', over: true }
  const gone = (key: string): string =>
    `stored: "${key}" was stored and is gone: never processed by b, no dead letter`

  test('may forget what it was sent meanwhile, or at most a second before, and nothing else', () => {
    expect(verdict(...cast, sent('1'), ok('1'), refused('x'), began, over)).toEqual([gone('1')])
    expect(verdict(...cast, sent('1'), ok('1'), began, over)).toEqual([])
    expect(verdict(...cast, sent('1'), began, ok('1'), over)).toEqual([])
    expect(verdict(...cast, began, sent('1'), ok('1'), over)).toEqual([])
    expect(verdict(...cast, began, over, sent('1'), ok('1'))).toEqual([gone('1')])
  })

  test('keeps no message from its end that it still has', () => {
    const kept: Happening = { kind: 'kept', agent: 'b', key: '1', id: 'id-1' }
    expect(verdict(...cast, began, sent('1'), ok('1'), over, kept)).toEqual([
      'arrival: "1" was never processed by b, though it is stored',
    ])
  })

  test('may give work out again whose claim, or acknowledgement, falls into that time', () => {
    const work = { lane: 'queue', owed: null, receipt: true } as const
    const first = received('1', 'b', 1, 'queue')
    const again = received('1', 'c', 1, 'queue')
    const done = processed('1', 'c')
    const end = receipt('1', 'acked', 'c', 20_000)
    expect(verdict(...cast, sent('1', work), ok('1'), began, first, over, again, done, end)).toEqual([])
    expect(verdict(...cast, began, over, sent('1', work), ok('1'), first, again, done, end)).toEqual([
      'holder: work id-1 was pushed to b#1 and to c#1 as attempt 1',
    ])
  })
})

test('a violation is explained by what belongs to it, and the faults meanwhile', () => {
  const fault: Happening = { kind: 'fault', fault: 'hub killed, 100 ms', over: false }
  const history = historyOf(...cast, sent('1'), fault, ok('1'), sent('2'))
  const [lost] = check(history)
  expect(lost && explain(lost, history).split('\n')).toEqual([
    'stored: "1" was stored and is gone: never processed by b, no dead letter',
    expect.stringMatching(/^ {2}#4 \+3\.000s .*"sent"/),
    expect.stringMatching(/^ {2}#5 \+4\.000s .*"hub killed, 100 ms"/),
    expect.stringMatching(/^ {2}#6 \+5\.000s .*"answered"/),
  ])
})
