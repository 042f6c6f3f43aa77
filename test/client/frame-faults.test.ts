import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import type { ExpectStatic } from 'vitest'
import type { Client } from '../../client/node.ts'
import { connect, Nack } from '../../client/node.ts'
import type { HubServer } from '../../src/server.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Direction, Fate, FaultProxy } from '../support/fault-proxy.ts'
import { startTestHub } from '../support/hubs.ts'
import type { Frame } from '../support/scripted-hub.ts'

/** Two agents behind one proxy: bob answers, works and listens, and counts how often each payload was handled. */
interface Scene {
  readonly alice: Client
  readonly bob: Client
  readonly proxy: FaultProxy
  /** What bob handled, in order. */
  readonly handled: unknown[]
  /** Resolves when bob has handled so much. */
  has(count: number): Promise<void>
  /** Resolves when the fault has struck. */
  readonly struck: Promise<void>
  readonly expect: ExpectStatic
}

/** What is done while a fault strikes, and what must be so afterwards. */
type Act = (scene: Scene) => Promise<void>

const sends: Act = async ({ alice, handled, has, expect }) => {
  const results = await Promise.all([0, 1, 2, 3].map((n) => alice.send('bob', n)))
  expect(new Set(results.map(({ id }) => id)).size).toBe(4)
  await alice.send('bob', 4)
  await has(5)
  expect(handled).toEqual([0, 1, 2, 3, 4])
}

const reconnects: Act = async (scene) => {
  scene.proxy.cut()
  await sends(scene)
}

const refusals: Act = async ({ alice, handled, has, expect }) => {
  const refused = [alice.send('nobody', 1), alice.send('bob', 'between'), alice.send('nobody', 2)]
  expect((await Promise.allSettled(refused)).map(({ status }) => status)).toEqual([
    'rejected',
    'fulfilled',
    'rejected',
  ])
  await expect(refused[0]).rejects.toMatchObject({ code: 'unknown_target' })
  await has(1)
  expect(handled).toEqual(['between'])
}

const rejections: Act = async ({ alice, handled, has, expect }) => {
  await alice.send('bob', 'reject')
  await has(2)
  await alice.send('bob', 'over')
  await has(3)
  expect(handled).toEqual(['reject', 'reject', 'over'])
}

const questions: Act = async ({ alice, handled, expect }) => {
  const answers = await Promise.all([1, 2, 3].map((n) => alice.request('bob', n)))
  expect(answers.map(({ payload }) => payload)).toEqual([2, 4, 6])
  expect((await alice.request('bob', 4)).payload).toBe(8)
  expect(handled.toSorted()).toEqual([1, 2, 3, 4])
}

const work: Act = async ({ alice, handled, expect }) => {
  const sent = await Promise.all(
    ['one', 'two'].map((payload) => alice.send({ capability: 'work' }, payload, { receipt: true })),
  )
  const settled = await Promise.all(sent.map((one) => one.settled))
  expect(settled.map(({ status, agentId }) => [status, agentId])).toEqual([
    ['acked', 'bob'],
    ['acked', 'bob'],
  ])
  expect(handled.toSorted()).toEqual(['one', 'two'])
}

const watching: Act = async ({ alice, bob, expect }) => {
  await using watch = alice.watch({ name: 'bob' }, { events: ['agent.updated'] })
  await watch.ready
  for (const n of ['1', '2', '3']) await bob.update({ metadata: { n } })
  await vi.waitFor(() => expect(watch.agents.get('bob')?.metadata).toEqual({ n: '3' }))
  const seen: number[] = []
  for await (const event of watch) {
    // An agent whose update was lost says hello without it first.
    if (event.event === 'agent.updated') seen.push(Number(event.agent.metadata['n'] ?? seen.at(-1)))
    if (seen.at(-1) === 3) break
  }
  expect([...new Set(seen)].filter((n) => n > 0)).toEqual([1, 2, 3])
  expect(seen).toEqual(seen.toSorted((a, b) => a - b))
}

const streaming: Act = async ({ alice, expect }) => {
  for (;;) {
    const got: number[] = []
    try {
      const options = { window: 2, timeoutMs: 300 }
      for await (const n of alice.requestStream<number>('bob', 'count', options)) got.push(n)
    } catch (error) {
      // A stream is not resumed: what came of it is right, and it is asked for again. Where nothing had come, only time tells.
      expect((error as Error).name).toBeOneOf(['StreamError', 'TimeoutError'])
      expect(got).toEqual([...got.keys()])
      continue
    }
    expect(got).toEqual([0, 1, 2, 3, 4, 5])
    return
  }
}

const leaving: Act = async ({ alice, bob, handled, expect }) => {
  await bob.close()
  await vi.waitFor(async () => {
    const { agents } = await alice.discover({ name: 'bob', status: ['offline'] })
    expect(agents).toHaveLength(1)
  }, 5000)
  expect(handled).toEqual([])
}

const silence: Act = async (scene) => {
  await scene.struck
  await sends(scene)
}

/** Each kind of frame that a client sends or gets, and when it does. `message:response` is by `messageType`. */
const FRAMES: readonly (readonly [direction: Direction, kind: string, act: Act])[] = [
  ['toHub', 'hello', reconnects],
  ['toClient', 'welcome', reconnects],
  ['toHub', 'send:notification', sends],
  ['toClient', 'ok', sends],
  ['toClient', 'message:notification', sends],
  ['toHub', 'ack', sends],
  ['toClient', 'error', refusals],
  ['toHub', 'nack', rejections],
  ['toHub', 'send:query', questions],
  ['toClient', 'message:query', questions],
  ['toHub', 'send:response', questions],
  ['toClient', 'message:response', questions],
  ['toClient', 'receipt', work],
  ['toHub', 'progress', work],
  ['toHub', 'subscribe', watching],
  ['toHub', 'update', watching],
  ['toClient', 'event', watching],
  ['toHub', 'stream.open', streaming],
  ['toClient', 'stream.open', streaming],
  ['toHub', 'stream.credit', streaming],
  ['toClient', 'stream.credit', streaming],
  ['toHub', 'stream.chunk', streaming],
  ['toClient', 'stream.chunk', streaming],
  ['toHub', 'stream.end', streaming],
  ['toClient', 'stream.end', streaming],
  ['toHub', 'bye', leaving],
  ['toClient', 'ping', silence],
  ['toHub', 'pong', silence],
]

const FATES: readonly (readonly [Fate, string])[] = [
  ['delay', 'is late'],
  ['double', 'comes twice'],
  ['lose', 'is lost with its connection'],
  ['cut', 'is the last of its connection'],
]

/** Twice they are against the protocol, and the client would be ended for it: a second greeting, credit that nobody gave. */
const NEVER_TWICE: ReadonlySet<string> = new Set(['hello', 'stream.credit'])

const CASES = FRAMES.flatMap(([direction, kind, act]) =>
  FATES.flatMap(([fate, what]) =>
    fate === 'double' && NEVER_TWICE.has(kind) ? [] : [{ direction, kind, act, fate, what }],
  ),
)

const matches = (kind: string, { type, messageType }: Frame): boolean =>
  kind === type || kind === `${type}:${String(messageType)}`

let hub: HubServer
beforeAll(async () => {
  // Reconnecting waits at random.
  vi.spyOn(Math, 'random').mockReturnValue(0)
  hub = await startTestHub('memory', { heartbeatIntervalMs: 100, ackTimeoutMs: 1000, graceMs: 1000 })
})
afterAll(async () => {
  vi.restoreAllMocks()
  await hub.close()
})

let cases = 0

function enter(url: string, namespace: string, name: string, capability: string): Promise<Client> {
  return connect({ url, namespace, name, id: name, capabilities: [capability], concurrency: 4 })
}

describe.concurrent('nothing is lost or handled twice', () => {
  it.for(CASES)('when one `$kind` ($direction) $what', async ({ direction, kind, act, fate }, { expect }) => {
    const namespace = `case-${++cases}`
    await using proxy = await startFaultProxy(hub.url)
    await using alice = await enter(proxy.url, namespace, 'alice', 'ask')
    await using bob = await enter(proxy.url, namespace, 'bob', 'work')
    const handled: unknown[] = []
    let check = (): void => undefined
    const note = (payload: unknown): void => {
      handled.push(payload)
      check()
    }
    bob.onMessage('notification', ({ payload }) => {
      note(payload)
      if (payload === 'reject' && handled.length === 1) throw new Nack('not yet', { delayMs: 0 })
    })
    if (act === streaming) {
      bob.onMessage('query', async function* () {
        for (let n = 0; n < 6; n++) yield n
      })
    } else {
      bob.onMessage<number>('query', ({ payload }) => {
        note(payload)
        return payload * 2
      })
    }
    bob.onWork('work', async ({ payload }) => {
      note(payload)
      // Progress is told three times within the timeout.
      if (kind === 'progress') await new Promise((resolve) => setTimeout(resolve, 400))
    })
    let strike = (): void => undefined
    const struck = new Promise<void>((resolve) => (strike = resolve))
    let strikes = 0
    proxy.decide = (way, frame) => {
      if (strikes > 0 || way !== direction || !matches(kind, frame)) return 'pass'
      strikes++
      strike()
      return fate
    }
    const has = (count: number): Promise<void> =>
      new Promise((resolve) => {
        check = () => {
          if (handled.length >= count) resolve()
        }
        check()
      })
    await act({ alice, bob, proxy, handled, has, struck, expect })
    expect(strikes).toBe(1)
  })
})
