import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type SettingName, settingsSchema } from '../../src/config.ts'
import { startTestHub } from '../../src/testing/index.ts'
import { tableRows } from '../support/markdown.ts'
import { ROOT } from '../support/run.ts'

const docs = readFileSync(join(ROOT, 'docs/testing.md'), 'utf8')
const source = (file: string): string => readFileSync(join(ROOT, 'src/testing', file), 'utf8')

describe('docs/testing.md', () => {
  it('tells every setting of a test hub, and what it is otherwise', () => {
    const [, body = ''] = /TEST_SETTINGS = \{([^}]*)\}/.exec(source('test-hub.ts')) ?? []
    const usual = settingsSchema.parse({})
    const shown = (value: unknown): string =>
      typeof value === 'number' ? value.toLocaleString('en-US') : `\`${String(value)}\``
    const set = [...body.matchAll(/(\w+): ('?[\w]+'?),/g)].map(([, name = '', value = '']) => {
      const here = /^\d/.test(value) ? Number(value) : value.replaceAll("'", '')
      return `${name} ${shown(here)} ${shown(usual[name as SettingName])}`
    })
    const told = tableRows(docs.split('## Times')[1] ?? '').slice(1)
    const rows = told.map(
      ([name = '', here, otherwise]) => `${/`(\w+)`/.exec(name)?.[1]} ${here} ${otherwise}`,
    )
    expect(rows.toSorted()).toEqual(set.toSorted())
    expect(set.length).toBeGreaterThan(5)
  })

  it('tells all that a test hub and a fake agent can do', async () => {
    await using hub = await startTestHub()
    const agent = await hub.fakeAgent()
    const hubMembers = Object.keys(hub).map((name) => `hub.${name}`)
    const agentMembers = Object.getOwnPropertyNames(Object.getPrototypeOf(agent))
      .filter((name) => name !== 'constructor')
      .map((name) => `agent.${name}`)
    expect(agentMembers).toContain('agent.reply')
    expect([...hubMembers, ...agentMembers].filter((name) => !docs.includes(name))).toEqual([])
  })
})
