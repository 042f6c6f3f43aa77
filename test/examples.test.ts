import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startTestHub } from './support/hubs.ts'
import { redisOfFile } from './support/redis-of-file.ts'
import { ROOT, runNode } from './support/run.ts'

const FOLDER = join(ROOT, 'examples')
const EXAMPLES = readdirSync(FOLDER).filter((name) => /^\d\d-.*\.mjs$/.test(name))
const DEMO = join(FOLDER, 'demo', 'demo.mjs')

/** What the header of an example says it prints. */
function promised(name: string): string {
  const source = readFileSync(join(FOLDER, name), 'utf8')
  const lines = source.split('\n')
  const start = lines.indexOf('// prints')
  expect(lines.slice(0, start)).toContain(`//   node examples/${name}`)
  const printed = lines.slice(start + 2)
  return printed
    .slice(
      0,
      printed.findIndex((line) => !line.startsWith('//   ')),
    )
    .map((line) => `${line.slice(5)}\n`)
    .join('')
}

describe('the examples', () => {
  it('are eleven, numbered from 01 without gaps', () => {
    expect(EXAMPLES.map((name) => name.slice(0, 2))).toEqual([
      '01',
      '02',
      '03',
      '04',
      '05',
      '06',
      '07',
      '08',
      '09',
      '10',
      '11',
    ])
  })

  it.each(EXAMPLES)('%s prints what its header says, and ends by itself', async (name) => {
    expect(await runNode([join(FOLDER, name)])).toEqual({ code: 0, output: promised(name), errors: '' })
  })

  it.each(EXAMPLES)('%s is in examples/README.md with its output', (name) => {
    const readme = readFileSync(join(FOLDER, 'README.md'), 'utf8')
    const section = readme.split('\n## ').find((one) => one.startsWith(`[${name}](${name})`))
    expect(section).toContain(`\`\`\`\n${promised(name)}\`\`\``)
  })

  it('06-offline-inbox.mjs does the same on the hub that MESHWIRE_URL names, on Redis', async () => {
    await using hub = await startTestHub('redis')
    const name = '06-offline-inbox.mjs'
    const ended = await runNode([join(FOLDER, name)], { MESHWIRE_URL: hub.url })
    expect(ended).toEqual({ code: 0, output: promised(name), errors: '' })
  })

  it.each(EXAMPLES)('%s ends with another exit code where it cannot show anything', async (name) => {
    const ended = await runNode([join(FOLDER, name)], { MESHWIRE_URL: 'nowhere' })
    expect(ended).toMatchObject({ code: 1, output: '' })
    expect(ended.errors).toContain('url "nowhere" must be like ws://')
  })
})

/**
 * What a person sees in each chapter of the demo. Within one, several processes speak: the order of their lines is the order
 * in which they reach the demo.
 */
const CHAPTERS: readonly (readonly [title: string, lines: readonly RegExp[]])[] = [
  ['', [/^ +\d+\.\d\d {2}hub +listens on ws:\/\/127\.0\.0\.1:\d+\/mesh /m]],
  [
    'Four agents come, each over a socket of its own',
    [
      /watcher {2}ada registered, can: factoring$/m,
      /watcher {2}ada leads now$/m,
      /watcher {2}ben registered, can: factoring$/m,
      /watcher {2}planner registered, can: planning$/m,
      /planner {2}is ready; the leader is ada$/m,
    ],
  ],
  [
    'The planner finds workers by what they can do, and asks them',
    [
      /planner {2}finds for "factoring": ada, ben$/m,
      /planner {2}asks ada: what are the prime factors of 1001\?$/m,
      /planner {2}ada answers: 1001 = 7 x 11 x 13$/m,
      /planner {2}ben answers: 1007 = 19 x 53$/m,
    ],
  ],
  [
    'ada gets a task and is killed while she works on it',
    [
      /planner {2}gives ada the task 8051: stored$/m,
      /ada +works on 8051: attempt 1, /,
      /SIGKILL to ada \(process \d+\)$/m,
      /watcher {2}ada lost its connection$/m,
      /watcher {2}ada is offline \(was online\)$/m,
      /watcher {2}ben leads now$/m,
    ],
  ],
  [
    'The planner gives her two more: they wait in her inbox',
    [/planner {2}gives ada the task 2431: stored$/m, /planner {2}gives ada the task 9991: stored$/m],
  ],
  [
    'ada comes back, and all three reach her',
    [
      /watcher {2}ada is online \(was offline\)$/m,
      /ada +works on 8051: attempt 2, /,
      /ada +works on 2431: attempt 1, /,
      /ada +works on 9991: attempt 1, /,
      /8051 = 83 x 97$[^]*2431 = 11 x 13 x 17$[^]*9991 = 97 x 103$/m,
    ],
  ],
  ['All leave', [/watcher {2}ada unregistered$/m, /watcher {2}ben unregistered$/m]],
  ['All of it happened: 27 checks passed', [/^All of it happened: 27 checks passed in \d+\.\d s\.$/m]],
]

function expectStory(output: string): void {
  const chapters = output.split('\n\n')
  expect(chapters).toHaveLength(CHAPTERS.length)
  for (const [index, [title, lines]] of CHAPTERS.entries()) {
    const chapter = chapters[index] ?? ''
    expect(chapter.startsWith(title), chapter).toBe(true)
    for (const line of lines) expect(chapter).toMatch(line)
  }
}

describe('the demo', { timeout: 60_000 }, () => {
  it('tells the whole story on the embedded core, without colours where nobody looks, and ends with 0', async () => {
    const { code, output, errors } = await runNode([DEMO])
    expect({ code, errors }).toEqual({ code: 0, errors: '' })
    expectStory(output)
    expect(output).toContain('(embedded core)')
    expect(output).not.toContain('\u001B')
  })

  it('tells it on the Redis that REDIS_URL names', async () => {
    const { code, output, errors } = await runNode([DEMO], { REDIS_URL: (await redisOfFile()).url })
    expect({ code, errors }).toEqual({ code: 0, errors: '' })
    expectStory(output)
    expect(output).toContain('(core: Redis)')
  })

  it('fails and says why where its hub does not start', async () => {
    const { code, errors } = await runNode([DEMO], { REDIS_URL: 'nonsense' })
    expect(code).toBe(1)
    expect(errors).toContain('The demo failed: the hub did not start (--redis-url (REDIS_URL) is "nonsense"')
  })
})
