import { afterEach, describe, expect, it, vi } from 'vitest'
import { createHandlerRun } from '../../client/handler-run.ts'
import { turnScope } from '../../client/scope.ts'
import { startTestHub } from '../../src/testing/index.ts'
import type { Message } from '../../protocol/pushes.ts'
import { ack, incoming, stepwise } from '../support/incoming.ts'

afterEach(() => void vi.useRealTimers())

/** Resolves once `count` have come here. */
function barrier(count: number): () => Promise<void> {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  return () => {
    if (--count === 0) open()
    return opened
  }
}

describe('agents that ask each other from handlers of each other’s messages', () => {
  it.each([2, 3])(
    'get their answers, %d of them in a circle, each with one place for handlers',
    async (count) => {
      await using hub = await startTestHub()
      const names = ['ann', 'ben', 'cid'].slice(0, count)
      const clients = await Promise.all(names.map((name) => hub.connect({ name })))
      const all = barrier(count)
      const answers: unknown[] = []
      const done = barrier(count)
      for (const [index, client] of clients.entries()) {
        const next = names[(index + 1) % count] as string
        client.onMessage('query', ({ from }) => `${names[index]} to ${from}`)
        client.onMessage('notification', async () => {
          // All of them are in a handler of a message of the one that will ask them.
          await all()
          const { payload } = await client.request(next, 'and you?', { timeoutMs: 3000 })
          answers.push(payload)
          await done()
        })
      }
      await Promise.all(
        clients.map((client, index) => client.send(names[(index + 1) % count] as string, 'begin')),
      )
      await vi.waitFor(() => expect(answers.length).toBe(count))
      const expected = names.map((name, index) => `${names[(index + 1) % count]} to ${name}`)
      expect(answers.toSorted()).toEqual(expected.toSorted())
    },
  )

  it('keep the order of one sender otherwise: neither another wait nor a request of somebody else lets the next message start', async () => {
    await using hub = await startTestHub()
    const ann = await hub.connect({ name: 'ann', concurrency: 8 })
    const ben = await hub.connect({ name: 'ben' })
    const cid = await hub.connect({ name: 'cid' })
    const log: string[] = []
    let answer = (): void => undefined
    cid.onMessage('query', () => new Promise((resolve) => (answer = () => resolve('late'))))
    let go = (): void => undefined
    ann.onMessage<string>(async ({ payload }) => {
      log.push(`begins ${payload}`)
      if (payload === 'one') await new Promise<void>((resolve) => (go = resolve))
      log.push(`ends ${payload}`)
    })
    const asked = ann.request('cid', 'not from a handler')
    await ben.send('ann', 'one')
    await ben.send('ann', 'two')
    // What ben sends reaches ann after what he sent before it: she has seen "two" when she answers this.
    const marker = vi.fn<() => void>()
    ann.onMessage('marker', marker)
    await ben.broadcast('marker', { type: 'marker', to: { capability: 'test' } })
    await vi.waitFor(() => expect(marker).toHaveBeenCalled())
    expect(log).toEqual(['begins one'])
    go()
    await vi.waitFor(() => expect(log).toEqual(['begins one', 'ends one', 'begins two', 'ends two']))
    answer()
    expect((await asked).payload).toBe('late')
  })
})

describe('a handler that waits for a request of its own', () => {
  it('lets the next message of its sender start, and holds those behind it up again when it goes on', async () => {
    vi.useFakeTimers()
    const { box, push, told, state } = incoming()
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    for (const id of ['m1', 'm2', 'm3', 'm4']) push(id)
    expect(ids()).toEqual(['m1'])
    void running[0]?.context.request('a2', 'first')
    expect(ids()).toEqual(['m1', 'm2'])
    void running[1]?.context.request('a3', 'second')
    expect(ids()).toEqual(['m1', 'm2', 'm3'])
    state.asked[0]?.({} as Message)
    running[2]?.end()
    expect(await told()).toEqual([ack('m3')])
    expect(ids()).toEqual(['m1', 'm2', 'm3'])
    running[0]?.end()
    expect(await told()).toEqual([ack('m1')])
    expect(ids()).toEqual(['m1', 'm2', 'm3', 'm4'])
  })

  it('waits until it has all its answers, and may end without them', async () => {
    vi.useFakeTimers()
    const { box, push, told, state } = incoming()
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    for (const id of ['m1', 'm2', 'm3']) push(id)
    void running[0]?.context.request('a2', 1)
    void running[0]?.context.request('a2', 2)
    state.asked[0]?.({} as Message)
    running[1]?.end()
    expect(await told()).toEqual([ack('m2')])
    expect(ids()).toEqual(['m1', 'm2', 'm3'])
    running[0]?.end()
    expect(await told()).toEqual([ack('m1')])
    state.asked[1]?.({} as Message)
    push('m4')
    expect([await told(), ids()]).toEqual([[], ['m1', 'm2', 'm3']])
    running[2]?.end()
    expect(await told()).toEqual([ack('m3')])
    expect(ids()).toEqual(['m1', 'm2', 'm3', 'm4'])
  })
})

describe('the scope of platforms that can not look across an await', () => {
  it('knows a handler until its first await, also where handlers start one another', async () => {
    const scope = turnScope()
    const [outer, inner] = [createHandlerRun(() => {}), createHandlerRun(() => {})]
    const seen: unknown[] = []
    const see = (): void => void seen.push(scope.getStore())
    await scope.run(outer, async () => {
      see()
      await scope.run(inner, async () => {
        see()
        await Promise.resolve()
        see()
      })
    })
    expect(() => scope.run(inner, () => JSON.parse('{'))).toThrow(SyntaxError)
    see()
    expect(seen).toEqual([outer, inner, undefined, undefined])
  })
})
