import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { fileOutbox } from '../../client/file.ts'
import { connect } from '../../client/node.ts'
import { end, forkModule, told } from '../support/child.ts'
import { CORES, startTestHub } from '../support/hubs.ts'

const LIVES = 6

/** The greatest number that the outbox keeps of a life, -1 where it keeps none. */
function greatest(text: string, life: number): number {
  const found = [...text.matchAll(/\\"payload\\":\[(\d+),(\d+)\]/g)].filter(([, of]) => Number(of) === life)
  return Math.max(-1, ...found.map(([, , number]) => Number(number)))
}

describe.each(CORES)('a process with a file outbox that is killed while it sends (%s)', (core) => {
  it('loses nothing it kept and doubles nothing, in order', { timeout: 40_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'meshwire-kill-'))
    const path = join(folder, 'outbox')
    await using hub = await startTestHub(core)
    await using bob = await connect({ url: hub.url, id: 'bob', name: 'bob', capabilities: ['test'] })
    const got: [life: number, number: number][] = []
    bob.onMessage<[number, number]>('notification', ({ payload }) => void got.push(payload))
    bob.onMessage('query', () => 'none')
    const kept: number[] = []
    for (let life = 0; life < LIVES; life++) {
      const child = forkModule(new URL('../support/outbox-sender.mjs', import.meta.url).pathname, [
        hub.url,
        path,
        String(life),
      ])
      let answered = -1
      child.on('message', (number: number) => (answered = Math.max(answered, number)))
      await told(child)
      await delay(20 + 60 * life)
      await end(child)
      kept.push(Math.max(answered, greatest(await readFile(path, 'utf8'), life)))
    }
    const last = await connect({
      url: hub.url,
      id: 'alice',
      name: 'alice',
      capabilities: ['test'],
      outbox: fileOutbox(path),
    })
    await last.send('bob', [LIVES, 0])
    for (let at = -1; at !== got.length; await delay(50)) at = got.length
    await last.close()
    for (let life = 0; life < LIVES; life++) {
      const numbers = got.filter(([of]) => of === life).map(([, number]) => number)
      expect(numbers).toEqual([...numbers.keys()])
      expect(numbers.length).toBeGreaterThan(kept[life] ?? 0)
    }
    expect(got.map(([life]) => life)).toEqual(got.map(([life]) => life).toSorted((a, b) => a - b))
    expect([got.at(-1), got.length > 100]).toEqual([[LIVES, 0], true])
    await rm(folder, { recursive: true })
  })
})
