import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { UNITS } from '../../src/http/spec-ai/message-types.ts'
import { startTestHub } from '../support/hubs.ts'
import { ROOT } from '../support/run.ts'
import { like, stepsOf, type } from '../support/typed-commands.ts'

const PAGE = readFileSync(join(ROOT, 'docs/http-api.md'), 'utf8')

test('docs/http-api.md shows what curl prints, from its beginning to its end', async () => {
  await using hub = await startTestHub('memory')
  const steps = stepsOf(PAGE, 'console')
  expect(steps.length).toBeGreaterThan(15)
  for (const { command, output } of steps)
    expect(like(await type(command, hub.httpUrl), output), command).toBe(output)
})

test('docs/http-api.md names each type as it is mapped', () => {
  const [, row = ''] = /^(\| `"Query"`.*)$/m.exec(PAGE) ?? []
  const names = [...row.matchAll(/`"?(\w+)"?`/g)].map(([, name]) => name)
  const { length } = Object.keys(UNITS)
  expect(Object.fromEntries(names.slice(0, length).map((unit, at) => [unit, names[length + at]]))).toEqual(
    UNITS,
  )
})
