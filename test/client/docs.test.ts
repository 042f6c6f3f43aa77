import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const docs = read('docs/client.md')

/** The body of an exported or local interface or type of a source file. */
function body(path: string, name: string): string {
  const source = read(path)
  const start = source.search(new RegExp(`(interface|type) ${name}\\b`))
  expect(start, `${name} in ${path}`).toBeGreaterThan(-1)
  return source.slice(start, source.indexOf('\n}\n', start))
}

const fields = (text: string): string[] =>
  [...text.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, name]) => String(name))

describe('docs/client.md', () => {
  it.each([
    ['client/options.ts', 'CommonOptions'],
    ['client/options.ts', 'AgentOptions'],
    ['client/options.ts', 'ObserverOptions'],
    ['client/envelope.ts', 'SendOptions'],
    ['client/envelope.ts', 'BroadcastOptions'],
    ['client/watch.ts', 'WatchOptions'],
    ['client/message.ts', 'HandlerOptions'],
    ['client/dead-letters.ts', 'DeadLetterListOptions'],
    ['client/file.ts', 'FileOutboxOptions'],
    ['client/indexeddb.ts', 'IndexedDbOutboxOptions'],
  ])('has a row for every option of %s %s', (path, name) => {
    const options = fields(body(path, name))
    expect(options.length).toBeGreaterThan(0)
    expect(options.filter((option) => !docs.includes(`\n| \`${option}\``))).toEqual([])
  })

  it('has a row for every status event', () => {
    const source = read('client/status.ts') + read('client/state.ts').split('export type Occurrence')[0]
    const types = [...source.matchAll(/readonly type: '(\w+)'/g)].map(([, type]) => type)
    expect(types.length).toBeGreaterThan(10)
    expect(types.filter((type) => !docs.includes(`\n| \`${type}\` |`))).toEqual([])
  })

  it('says the defaults that the code has', async () => {
    const { toSettings } = await import('../../client/options.ts')
    const settings = toSettings({ url: 'ws://hub/mesh', name: 'tester', capabilities: ['nlp'] })
    for (const [option, value] of Object.entries(settings)) {
      if (typeof value !== 'number') continue
      const row = docs.split('\n').find((line) => line.startsWith(`| \`${option}\``))
      expect(row, option).toContain(`| ${value.toLocaleString('en-US')} |`)
    }
  })
})
