import { expect, test } from 'vitest'
import { LogCursor } from '../../src/hub/log-cursor.ts'

test('what is settled beyond an open broadcast is told once, not with every write', () => {
  const cursor = new LogCursor({ upTo: 0, beyond: [] })
  for (let number = 1; number <= 4; number++) cursor.push(number)
  cursor.settle(3)
  expect(cursor.take(4)).toEqual({ upTo: 0, beyond: [3] })
  cursor.settle(2)
  const taken = cursor.take(4)
  expect(taken).toEqual({ upTo: 0, beyond: [2] })
  // That write failed.
  cursor.putBack(taken.beyond)
  cursor.settle(4)
  expect(cursor.take(4)).toEqual({ upTo: 0, beyond: [2, 4] })
  cursor.settle(1)
  expect(cursor.take(4)).toEqual({ upTo: 4, beyond: [] })
})
