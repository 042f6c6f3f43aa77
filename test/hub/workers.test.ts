import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { connect, type Client } from '../../client/node.ts'
import { connectAgent } from '../support/agent.ts'
import { COMMAND } from '../support/built.ts'
import { newStore } from '../support/hubs.ts'
import { Samples, scrape } from '../support/metrics.ts'
import { runNode, startNode, type Running } from '../support/run.ts'

const START = [COMMAND, 'start', '--port', '0', '--log-level', 'silent']

/** Processes that `pid` has started and that still run. */
const childrenOf = (pid: number): number[] =>
  execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(Number)

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A primary whose workers listen. */
interface Primary extends Running {
  readonly url: string
  readonly pid: number
  /** All that it writes to its standard error. */
  readonly errors: Promise<string>
}

async function startWorkers(count: number): Promise<Primary> {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const running = startNode([...START, '--workers', String(count), '--key-prefix', keyPrefix], {
    REDIS_URL: redisUrl,
  })
  const errors = text(running.child.stderr)
  const [line] = (await once(running.child.stdout, 'data')) as [Buffer]
  const [, ids = '', url = ''] =
    /^Meshwire hubs (.+) listen on (\S+) \(3 workers, core: Redis\)\n$/.exec(line.toString()) ?? []
  expect(new Set(ids.split(', ')).size).toBe(count)
  return { ...running, url, pid: running.child.pid ?? 0, errors }
}

test('more than one worker without Redis is refused, with what to do', async () => {
  const { code, errors, output } = await runNode([...START, '--workers', '2'])
  expect([code, output]).toEqual([1, ''])
  expect(errors).toMatch(/^meshwire: --workers \(MESHWIRE_WORKERS\) is 2: .*--redis-url \(REDIS_URL\)\n$/)
})

test('workers that cannot start say why once, and end with 1', { timeout: 30_000 }, async () => {
  const { code, errors, output } = await runNode([...START, '--workers', '3'], {
    REDIS_URL: 'redis://127.0.0.1:1',
  })
  expect([code, output]).toEqual([1, ''])
  expect(errors.match(/ECONNREFUSED/g)).toHaveLength(1)
})

test(
  'workers are hubs of one mesh on one port; one that is killed is replaced, and all drain together',
  { timeout: 60_000 },
  async () => {
    const count = 3
    await using primary = await startWorkers(count)
    const { url, pid } = primary
    const agents: Client[] = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        connect({ url, id: `a${i}`, name: `agent-${i}`, capabilities: ['nlp'], closeTimeoutMs: 1_000 }),
      ),
    )
    const hubs = (): unknown[] => agents.map(({ state }) => (state.type === 'open' ? state.hub : state.type))
    expect(new Set(hubs()).size).toBe(count)
    const got: unknown[] = []
    agents[0]?.onMessage(({ payload }) => void got.push(payload))
    await Promise.all(agents.map((agent, i) => agent.send('a0', i)))
    await expect.poll(() => got.length, { timeout: 10_000 }).toBe(12)
    expect(await (await fetch(url.replace('ws', 'http').replace('/mesh', '/health'))).json()).toMatchObject({
      status: 'healthy',
    })

    const workers = childrenOf(pid)
    expect(workers).toHaveLength(count)
    const [victim = 0] = workers
    process.kill(victim, 'SIGKILL')
    await expect
      .poll(() => childrenOf(pid).filter((child) => !workers.includes(child)), { timeout: 10_000 })
      .toHaveLength(1)
    await expect
      .poll(() => agents.every(({ state }) => state.type === 'open'), { timeout: 20_000 })
      .toBe(true)
    await Promise.all(agents.map((agent, i) => agent.send('a0', 100 + i)))
    await expect.poll(() => got.length, { timeout: 10_000 }).toBe(24)
    // The replacement serves too.
    const seen = new Set<unknown>()
    await expect
      .poll(
        async () => {
          await using agent = await connectAgent(url)
          seen.add(agent.welcome.hub)
          return seen.size
        },
        { timeout: 20_000 },
      )
      .toBe(count)

    const all = childrenOf(pid)
    const goaway = new Promise<void>((resolve) => {
      void (async () => {
        for await (const event of agents[0]?.status() ?? []) if (event.type === 'goaway') return resolve()
      })()
    })
    const exit = once(primary.child, 'exit')
    // As a terminal does it: to the whole group, more than once to none.
    for (const worker of all) process.kill(worker, 'SIGINT')
    process.kill(pid, 'SIGINT')
    await goaway
    expect(await exit).toEqual([0, null])
    expect(all.filter(isAlive)).toEqual([])
    expect(await primary.errors).toMatch(/^meshwire: a worker ended with .*\n$/)
    await Promise.all(agents.map((agent) => agent.close()))
  },
)

test(
  'whichever worker is scraped answers for all, and one that replaces another has its number',
  { timeout: 60_000 },
  async () => {
    await using primary = await startWorkers(3)
    const httpUrl = primary.url.replace('ws', 'http').replace('/mesh', '')
    await using alice = await connectAgent(primary.url, { id: 'alice' })
    await alice.request({ type: 'send', to: { agent: 'alice' }, messageType: 'x', payload: 1 })
    // Several at once, of several workers.
    const found = await Promise.all(Array.from({ length: 6 }, () => scrape({ httpUrl })))
    for (const samples of found) {
      expect(samples.valuesOf('worker')).toEqual(new Set(['1', '2', '3']))
      expect(samples.valuesOf('hub').size).toBe(3)
      const sent = ['1', '2', '3'].map((worker) =>
        samples.value('meshwire_sends_total', { worker, kind: 'direct', outcome: 'accepted' }),
      )
      expect(sent.toSorted()).toEqual([0, 0, 1])
      expect(samples.value('process_cpu_seconds_total', { worker: '2' })).toBeGreaterThan(0)
      expect(samples.text.match(/^# TYPE meshwire_sends_total /gm)).toHaveLength(1)
    }
    const hubs = found[0]?.valuesOf('hub') ?? new Set()
    process.kill(childrenOf(primary.pid)[0] ?? 0, 'SIGKILL')
    await expect
      .poll(
        async () => {
          const samples = await scrape({ httpUrl })
          return [samples.valuesOf('worker'), [...hubs].every((hub) => samples.valuesOf('hub').has(hub))]
        },
        { timeout: 20_000 },
      )
      .toEqual([new Set(['1', '2', '3']), false])
    const exit = once(primary.child, 'exit')
    await alice.close()
    primary.child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
  },
)

test('a worker that stands still is left out', { timeout: 60_000 }, async () => {
  await using primary = await startWorkers(3)
  const httpUrl = primary.url.replace('ws', 'http').replace('/mesh', '')
  const [still = 0] = childrenOf(primary.pid)
  // Connections of their own, one after the other: each worker has been given one by now and then.
  process.kill(still, 'SIGSTOP')
  try {
    const answers = await Promise.allSettled(
      Array.from({ length: 3 }, async () => {
        const answer = await fetch(`${httpUrl}/metrics`, {
          headers: { connection: 'close' },
          signal: AbortSignal.timeout(8_000),
        })
        return new Samples(await answer.text())
      }),
    )
    const told = answers.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    expect(told.length).toBeGreaterThan(0)
    for (const samples of told) expect(samples.valuesOf('worker').size).toBe(2)
  } finally {
    process.kill(still, 'SIGCONT')
  }
})

test(
  'workers whose primary is killed drain: they ask their clients to leave, and do not cut them off',
  { timeout: 30_000 },
  async () => {
    await using primary = await startWorkers(3)
    await using alice = await connectAgent(primary.url, { id: 'alice' })
    await using bob = await connectAgent(primary.url, { id: 'bob' })
    primary.child.kill('SIGKILL')
    await alice.next('goaway')
    await bob.next('goaway')
    expect(await alice.closed).toMatchObject({ code: 4001 })
    expect(await bob.closed).toMatchObject({ code: 4001 })
  },
)
