import { describe, expect, it } from 'vitest'
import { type Ended, runNode } from '../support/run.ts'

const simulate = (...args: readonly string[]): Promise<Ended> =>
  runNode(['--no-warnings', '--import', 'tsx', 'test/simulation/main.ts', ...args])

describe('a mesh under a virtual clock', () => {
  it('keeps its promises in every seed', async () => {
    const { output, errors } = await simulate('--seeds', '200')
    expect(errors).toBe('')
    expect(output).toMatch(/^200 seeds, \d+ events, .* seeds a minute\n$/)
  }, 60_000)

  it('does the same again for the same seed, whatever was simulated before', async () => {
    const [all, one] = await Promise.all([
      simulate('--from', '31', '--seeds', '5', '--digest'),
      simulate('--from', '34', '--seeds', '1', '--digest'),
    ])
    const digests = all.output.split('\n')
    expect(digests[3]).toMatch(/^34 [0-9a-f]+$/)
    expect(one.output.split('\n')[0]).toBe(digests[3])
  }, 30_000)

  it.each(['abc', '0', '1.5'])('is not simulated %s times', async (seeds) => {
    const { code, errors, output } = await simulate('--seeds', seeds)
    expect([code, output]).toEqual([1, ''])
    expect(errors).toContain(`--seeds ${seeds}: must be an integer above 0`)
  })

  it.each([
    ['loses', 'kept'],
    ['crowds', 'holding'],
    ['forgets', 'everything comes to an end'],
  ])(
    'notices a core that %s, and says how to see it again',
    async (defect, rule) => {
      const { code, output } = await simulate('--seeds', '50', '--defect', defect)
      expect(code).toBe(1)
      expect(output).toMatch(new RegExp(`^seed \\d+: ${rule}: `, 'm'))
      const [, seed = ''] = /^again: npm run simulate -- --from (\d+) --seeds 1/m.exec(output) ?? []
      expect(Number(seed)).toBeGreaterThan(0)
    },
    60_000,
  )
})
