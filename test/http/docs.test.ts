import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { UNITS } from '../../src/http/spec-ai/message-types.ts'
import { startTestHub } from '../support/hubs.ts'
import { fencedBlocks } from '../support/markdown.ts'
import { ROOT } from '../support/run.ts'

const run = promisify(execFile)
const PAGE = readFileSync(join(ROOT, 'docs/http-api.md'), 'utf8')
const DEFAULT_URL = 'http://127.0.0.1:7171'

/** What was printed, with `…` where the page says so. */
function like(printed: string, shown: string): string {
  const pattern = shown
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[\\s\\S]+?')
  return new RegExp(`^${pattern}$`).test(printed) ? shown : printed
}

test('docs/http-api.md shows what curl prints, from its beginning to its end', async () => {
  await using hub = await startTestHub('memory')
  const transcripts = fencedBlocks(PAGE, 'console')
  expect(transcripts.length).toBeGreaterThan(6)
  for (const transcript of transcripts) {
    for (const step of transcript.split(/^\$ /m).slice(1)) {
      const [command = '', ...lines] = step.split('\n')
      const { stdout } = await run('sh', ['-c', command.replaceAll(DEFAULT_URL, hub.httpUrl)])
      const shown = lines.join('\n').trimEnd()
      expect(like(stdout.trimEnd(), shown), command).toBe(shown)
    }
  }
})

test('docs/http-api.md names each type as it is mapped', () => {
  const [, row = ''] = /^(\| `"Query"`.*)$/m.exec(PAGE) ?? []
  const names = [...row.matchAll(/`"?(\w+)"?`/g)].map(([, name]) => name)
  const { length } = Object.keys(UNITS)
  expect(Object.fromEntries(names.slice(0, length).map((unit, at) => [unit, names[length + at]]))).toEqual(
    UNITS,
  )
})
