import { describe, expect, it } from 'vitest'
import type { SubscribeResult } from '../../protocol/replies.ts'
import type { AgentRecord } from '../../src/core/registry.ts'
import { compilePattern } from '../../src/auth/pattern.ts'
import { parsePermission } from '../../src/auth/permission.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { toFilter } from '../../src/hub/filter.ts'
import { connectAgent, connectObserver } from '../support/agent.ts'
import { startWatched } from '../support/watched.ts'

const CHARS = 256

/** What this process has computed, milliseconds: a busy machine makes it no more. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const filled = (part: string): string => part.repeat(Math.floor(CHARS / part.length))

/** Made to have a parser try again and again, as long as they may be. */
const RANGES: readonly string[] = [
  ...[
    '||',
    '1||',
    '1.x||',
    '^1||',
    '>=0 ',
    '>1 <',
    '>',
    '^',
    '~>',
    'x.',
    '*',
    'v',
    '- ',
    '1 - ',
    '=',
    '.',
    '-',
    '+',
  ].map(filled),
  `${' '.repeat(CHARS - 1)}1`,
  `1${' '.repeat(CHARS - 2)}x`,
  // Without a range that everything is in, which would stand for all of them.
  filled('1||').slice(0, -2),
  filled('3||').slice(0, -2),
  filled('3.1||').slice(0, -2),
  `1.2.3-${'a.'.repeat(124)}a`,
  `1.2.3-${'0'.repeat(CHARS - 6)}`,
  `1.2.3+${'-'.repeat(CHARS - 6)}`,
  `${'9'.repeat(CHARS)}.1.1`,
  `>=${'1.'.repeat(126)}`,
  `^${'0'.repeat(15)}1.${'9'.repeat(16)}.x-${'a-'.repeat(100)}`,
  `1.2.3 - ${'9'.repeat(100)} ${'|'.repeat(100)}`,
]
const VERSIONS = [
  '1.2.3',
  '9007199254740991.0.0',
  `1.2.3-${'a.'.repeat(124)}a`,
  `0.0.0-${'0a'.repeat(120)}`,
  `1.1.1+${'-'.repeat(250)}`,
]

const agent = (version: string): AgentRecord =>
  ({
    registration: { name: 'one', groups: [], capabilities: ['nlp'], metadata: {}, version },
    state: { status: 'online' },
  }) as unknown as AgentRecord

describe('a semver range', () => {
  it('costs next to nothing for each of thousands of agents, whatever it is', () => {
    const records = VERSIONS.map(agent)
    for (const version of RANGES) {
      const begun = cpuMs()
      try {
        const filter = toFilter({ version }, ['online'])
        for (let i = 0; i < 10_000; i++) filter.matches(records[i % records.length] as AgentRecord)
      } catch (error) {
        expect(error).toMatchObject({ code: 'bad_frame' })
      }
      expect(cpuMs() - begun, version).toBeLessThan(1_000)
    }
  })

  it('costs little even where every agent has a version of its own that was made to be slow', () => {
    const records = Array.from({ length: 2_000 }, (_, i) => agent(`1.0.${i}-${'a.'.repeat(118)}a`))
    for (const version of RANGES) {
      const begun = cpuMs()
      try {
        const filter = toFilter({ version }, ['online'])
        for (const record of records) filter.matches(record)
      } catch (error) {
        expect(error).toMatchObject({ code: 'bad_frame' })
      }
      expect(cpuMs() - begun, version).toBeLessThan(1_500)
    }
  })

  it('has at most 16 alternatives', () => {
    const range = (count: number): string => Array.from({ length: count }, (_, i) => `${i}.1`).join(' || ')
    expect(toFilter({ version: range(16) }, ['online']).matches(agent('15.1.0'))).toBe(true)
    expect(() => toFilter({ version: range(17) }, ['online'])).toThrow('16')
  })

  it('is read through a hub as fast', async () => {
    const { hub, faults } = await startWatched()
    await using _hub = hub
    await using observer = await connectAgent(hub, { version: VERSIONS[2] ?? null })
    const begun = Date.now()
    for (const version of RANGES) {
      await observer.answer({ type: 'discover', where: { version } })
      const answer = await observer.answer({ type: 'subscribe', where: { version } })
      if (answer.type === 'ok') {
        const { subscription } = answer.result as SubscribeResult
        await observer.request({ type: 'unsubscribe', subscription })
      }
    }
    expect(Date.now() - begun).toBeLessThan(3_000)
    expect(faults).toEqual([])
  })
})

describe('a permission', () => {
  it('takes no time that grows with what it is compared to', () => {
    const texts = ['*a', 'a*', '*', 'ab*', '**a', '(a+)+', '[a-z]*', '.*'].map(filled)
    const begun = cpuMs()
    for (const text of texts)
      for (const value of [filled('a'), `${filled('a').slice(1)}b`, filled('ab'), filled('(a+)+')]) {
        for (let i = 0; i < 200; i++) compilePattern(text)(value)
        expect(parsePermission(`send:name=${text.slice(0, 240)}`).matches('b')).toBeTypeOf('boolean')
      }
    expect(cpuMs() - begun).toBeLessThan(2_000)
  })
})

describe('settings', () => {
  it('have no names that objects have themselves', () => {
    const evil =
      '{"__proto__":{"port":1,"insecureOpen":true},"constructor":{"prototype":{"polluted":1}},"toString":1}'
    expect(parseSettings(JSON.parse(evil) as object)).toEqual(parseSettings({}))
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })
})

describe('10,000 subscriptions', () => {
  const subscribe = (ref: number): string =>
    JSON.stringify({ type: 'subscribe', ref, where: { metadata: { k: 'v'.repeat(200) }, version: '>=1' } })
  const heapOf = (): number => {
    globalThis.gc?.()
    return process.memoryUsage().heapUsed
  }

  it('of one connection are 100, and the others refused', async () => {
    const { hub, faults } = await startWatched()
    await using _hub = hub
    await using observer = await connectObserver(hub)
    const before = heapOf()
    for (let from = 0; from < 10_000; from += 500)
      observer.raw(Array.from({ length: 500 }, (_, i) => subscribe(from + i)).join('\n'))
    await observer.nextWhere((frame) => 'ref' in frame && frame.ref === 9_999, 'the last answer', 10_000)
    const answers = observer.takeWaiting()
    expect(answers.filter(({ type }) => type === 'ok')).toHaveLength(100)
    const errors = answers.filter((frame) => frame.type === 'error')
    expect(errors).toHaveLength(9_899)
    expect(new Set(errors.map(({ error }) => error.code))).toEqual(new Set(['bad_frame']))
    expect(heapOf() - before).toBeLessThan(64 * 1_048_576)
    expect(faults).toEqual([])
  })

  it('of 100 connections are served, and end with these', async () => {
    const { hub, faults } = await startWatched()
    await using _hub = hub
    const before = heapOf()
    const observers = await Promise.all(Array.from({ length: 100 }, () => connectObserver(hub)))
    for (const observer of observers)
      observer.raw(Array.from({ length: 100 }, (_, i) => subscribe(i)).join('\n'))
    for (const observer of observers) await observer.next('ok', ({ ref }) => ref === 99, 10_000)
    expect(heapOf() - before).toBeLessThan(128 * 1_048_576)
    const begun = Date.now()
    await using seen = await connectAgent(hub, { version: '1.0.0', metadata: { k: 'v'.repeat(200) } })
    for (const observer of observers)
      for (let i = 0; i < 100; i++)
        await observer.next('event', (event) => 'agentId' in event && event.agentId === seen.id)
    expect(Date.now() - begun).toBeLessThan(4_000)
    await Promise.all(observers.map((observer) => observer.cut()))
    await seen.roundTrip()
    expect(faults).toEqual([])
  })
})
