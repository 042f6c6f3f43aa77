import { describe, expect, it } from 'vitest'
import { connect, type Client, type ConnectOptions } from '../../client/node.ts'
import type { HubServer } from '../../src/server.ts'
import { startHubProcess } from '../support/hub-process.ts'
import { CORES, startMesh } from '../support/hubs.ts'

const NLP = { capability: 'nlp' }

type Options = Partial<ConnectOptions>

const join = (hub: { readonly url: string }, name: string, options: Options = {}): Promise<Client> =>
  connect({ url: hub.url, id: name, name, capabilities: ['nlp'], ...options })

const asker = (hub: HubServer): Promise<Client> => join(hub, 'asker', { capabilities: ['asking'] })

/** A promise and its resolve. */
function signalled<Value = void>(): { readonly seen: Promise<Value>; readonly see: (value: Value) => void } {
  let see: (value: Value) => void = () => undefined
  const seen = new Promise<Value>((resolve) => (see = resolve))
  return { seen, see }
}

describe.each(CORES)('work by clients, on %s', (core) => {
  it('is shared out: each task is handled once, as many at once as each agent says', async () => {
    await using mesh = await startMesh(core, 2)
    await using alice = await asker(mesh.hub(0))
    const handled = new Map<unknown, string>()
    const running = new Map<string, number>()
    const most = new Map<string, number>()
    const all = signalled()
    const count = 60
    const work = (worker: Client, name: string): void => {
      worker.onMessage('task_delegation', async ({ payload }) => {
        running.set(name, (running.get(name) ?? 0) + 1)
        most.set(name, Math.max(most.get(name) ?? 0, running.get(name) ?? 0))
        await new Promise((resolve) => setTimeout(resolve, 5))
        running.set(name, (running.get(name) ?? 0) - 1)
        if (handled.has(payload)) throw new Error(`${String(payload)} came twice`)
        handled.set(payload, name)
        if (handled.size === count) all.see()
      })
    }
    await using one = await join(mesh.hub(0), 'one', { concurrency: 4 })
    await using two = await join(mesh.hub(1), 'two')
    work(one, 'one')
    work(two, 'two')
    const sent = Array.from({ length: count }, (_, n) => alice.send(NLP, n, { type: 'task_delegation' }))
    await Promise.all(sent)
    await all.seen
    expect(most).toEqual(
      new Map([
        ['one', 4],
        ['two', 1],
      ]),
    )
    expect(new Set(handled.values())).toEqual(new Set(['one', 'two']))
  })

  it('tells its sender: settled resolves with who did it, and why it was given up', async () => {
    await using mesh = await startMesh(core, 2, { maxAttempts: 2 })
    await using alice = await asker(mesh.hub(0))
    await using bob = await join(mesh.hub(1), 'bob', { redeliveryDelayMs: 10 })
    bob.onMessage(({ payload }) => {
      if (payload === 'bad') throw new Error('cannot do that')
    })
    const good = await alice.send(NLP, 'good', { receipt: true })
    const bad = await alice.send(NLP, 'bad', { receipt: true })
    const late = await alice.send({ capability: 'ocr' }, 'late', { receipt: true, ttlMs: 50 })
    expect(await good.settled).toMatchObject({ id: good.id, agentId: 'bob', status: 'acked', reason: null })
    expect(await bad.settled).toMatchObject({ status: 'dead_lettered', reason: 'cannot do that' })
    expect(await late.settled).toMatchObject({ agentId: null, status: 'expired' })
    const { deadLetters } = await alice.deadLetters.list({ reason: 'cannot do that' }, { payload: true })
    expect(deadLetters).toMatchObject([{ messageId: bad.id, payload: 'bad', attempts: 2 }])
  })

  it('that takes long stays with its worker, and its sender is told that it was begun', async () => {
    await using mesh = await startMesh(core, 2, { ackTimeoutMs: 400 })
    await using alice = await asker(mesh.hub(0))
    await using bob = await join(mesh.hub(1), 'bob')
    await using carol = await join(mesh.hub(0), 'carol')
    let runs = 0
    for (const worker of [bob, carol]) {
      worker.onMessage(async () => {
        runs++
        await new Promise((resolve) => setTimeout(resolve, 1_500))
      })
    }
    const { receipts } = await alice.send(NLP, 'long', { receipt: true })
    const statuses: string[] = []
    for await (const { status } of receipts) statuses.push(status)
    expect(statuses).toEqual(['in_progress', 'acked'])
    expect(runs).toBe(1)
  })

  it('that hangs is ended by the time its handler has, and goes to another worker', async () => {
    await using mesh = await startMesh(core, 2, { ackTimeoutMs: 60_000 })
    await using alice = await asker(mesh.hub(0))
    await using bob = await join(mesh.hub(1), 'bob', { redeliveryDelayMs: 0 })
    const aborted = signalled<unknown>()
    bob.onMessage(
      (_message, { signal }) => {
        signal.addEventListener('abort', () => aborted.see(signal.reason))
        return new Promise(() => undefined)
      },
      { timeoutMs: 100 },
    )
    const { settled } = await alice.send(NLP, 'hangs', { receipt: true })
    await using carol = await join(mesh.hub(0), 'carol')
    carol.onMessage(() => undefined)
    expect(await aborted.seen).toMatchObject({ name: 'TimeoutError' })
    expect(await settled).toMatchObject({ agentId: 'carol', status: 'acked' })
  })

  it('is handed on at once by a worker that closes', async () => {
    await using mesh = await startMesh(core, 2, { graceMs: 60_000 })
    await using alice = await asker(mesh.hub(0))
    const bob = await join(mesh.hub(1), 'bob', { closeTimeoutMs: 10 })
    const begun = signalled()
    bob.onMessage(() => {
      begun.see()
      return new Promise(() => undefined)
    })
    const { settled } = await alice.send(NLP, 'one', { receipt: true })
    await begun.seen
    await using carol = await join(mesh.hub(0), 'carol')
    carol.onMessage(() => undefined)
    await bob.close()
    expect(await settled).toMatchObject({ agentId: 'carol' })
  })
})

it('work is taken from a worker whose event loop stands still, which is told and stops', async () => {
  await using hub = await startHubProcess({ '--ack-timeout-ms': 300 })
  await using alice = await join(hub, 'alice', { capabilities: ['asking'] })
  await using bob = await join(hub, 'bob')
  const stopped = signalled<unknown>()
  let runs = 0
  bob.onMessage(async (_message, { signal }) => {
    if (++runs > 1) return
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000)
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    stopped.see(signal.reason)
  })
  const { settled } = await alice.send(NLP, 'blocks', { receipt: true })
  expect(await stopped.seen).toMatchObject({ name: 'RevokedError' })
  expect(await settled).toMatchObject({ agentId: 'bob', status: 'acked' })
  expect(runs).toBeGreaterThan(1)
}, 20_000)
