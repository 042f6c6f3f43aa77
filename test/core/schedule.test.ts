import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Schedule } from '../../src/core/memory/schedule.ts'
import { same } from '../support/properties.ts'

interface Item {
  readonly at: number
  slot: number
}

const time = fc.nat(20)
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('add' as const), at: time }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), at: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('take' as const), at: time }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('due' as const), at: time }) },
)

test('a schedule gives what is due, the earliest first, and forgets what was removed', () => {
  expect.hasAssertions()
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
      const schedule = new Schedule<Item>((item) => item.at)
      const items: Item[] = []
      for (const { kind, at } of steps) {
        if (kind === 'add') {
          const item = { at, slot: -1 }
          schedule.add(item)
          items.push(item)
        } else if (kind === 'remove' && items.length > 0) {
          const [item] = items.splice(at % items.length, 1)
          if (item !== undefined) schedule.remove(item)
        } else if (kind === 'take') {
          const earliest = Math.min(...items.map((item) => item.at))
          const taken = schedule.take(at)
          same(taken?.at, earliest <= at ? earliest : undefined)
          if (taken !== undefined) items.splice(items.indexOf(taken), 1)
        } else if (kind === 'due') {
          const due = items.filter((item) => item.at <= at)
          const found = new Set(schedule.due(at, 1000))
          same(found, new Set(due))
          same(schedule.due(at, 2).length, Math.min(2, due.length))
        }
      }
    }),
    { numRuns: 500 },
  )
})

test('an item that is not scheduled may be removed', () => {
  const schedule = new Schedule<Item>((item) => item.at)
  const item = { at: 1, slot: -1 }
  schedule.add(item)
  expect(schedule.take(1)).toBe(item)
  schedule.remove(item)
  expect(schedule.take(1)).toBe(undefined)
})
