import * as fc from 'fast-check'
import { expect } from 'vitest'

/** Runs many random sequences of steps, each in a namespace of its own. */
export async function checkRuns<Step>(
  step: fc.Arbitrary<Step>,
  numRuns: number,
  run: (namespace: string, steps: readonly Step[]) => Promise<void>,
): Promise<void> {
  let runs = 0
  const steps = fc.array(step, { minLength: 5, maxLength: 35, size: 'max' })
  await fc.assert(
    fc.asyncProperty(steps, (sequence) => run(`run-${(runs += 1)}`, sequence)),
    { numRuns },
  )
}

/** `expect` for models, whose branches say what is to be expected. */
export function same(actual: unknown, expected: unknown): void {
  expect(actual).toEqual(expected)
}

/** As {@link same}, for the members that `expected` has. */
export function alike(actual: unknown, expected: object): void {
  expect(actual).toMatchObject(expected)
}
