import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runNode } from './support/run.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'meshwire-programs-'))
})
afterEach(() => rm(directory, { recursive: true }))

describe.each([
  ['scripts/chromium.mjs', 'CHROMIUM', 'google-chrome', 'apt-get install chromium'],
  ['scripts/redis-server.mjs', 'REDIS_SERVER', 'redis-server', 'apt-get install redis-server'],
])('%s', (script, variable, name, remedy) => {
  const find = (env: NodeJS.ProcessEnv) => runNode([script], { [variable]: '', PATH: directory, ...env })

  it('prints the program that the environment names, or the one on PATH', async () => {
    const program = join(directory, name)
    await writeFile(program, '', { mode: 0o755 })
    expect(await find({})).toEqual({ code: 0, output: `${program}\n`, errors: '' })
    expect(await find({ PATH: '', [variable]: program })).toMatchObject({ code: 0, output: `${program}\n` })
  })

  it('fails with one line that says what to do where there is none', async () => {
    const nowhere = await find({})
    expect(nowhere).toMatchObject({ code: 1, output: '' })
    expect(nowhere.errors).toMatch(new RegExp(`^.*${remedy}.*${variable}.*\n$`))
    const misnamed = await find({ [variable]: join(directory, 'none') })
    expect(misnamed).toMatchObject({ code: 1, output: '' })
    expect(misnamed.errors).toMatch(new RegExp(`^${variable} is ".*none".*\n$`))
  })
})
