import { expect, test } from 'vitest'
import { runNode } from '../support/run.ts'

test('a soak of no time is refused: it would find every leak absent', async () => {
  const { code, errors, output } = await runNode(['--import', 'tsx', 'test/soak/main.ts', '--minutes', 'abc'])
  expect([code, output]).toEqual([1, ''])
  expect(errors).toContain('--minutes abc: must be a number above 0')
})
