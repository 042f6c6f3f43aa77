import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Departure } from '../../src/core/registry.ts'
import { frame, join, NEVER_MS, sendOf, toQueue, type CoreFactory } from '../support/core.ts'
import { alike, checkRuns, same } from '../support/properties.ts'
import { MAX_ATTEMPTS, ModelQueue, WORKERS, type Hold, type Worker } from '../support/queue-model.ts'
import { receiptsOf, waitingIn, WORK } from '../support/work.ts'

const CONCURRENCY = 2

const hold = fc.nat(11)
const worker = fc.constantFrom(...WORKERS)
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      count: fc.integer({ min: 1, max: 3 }),
      expired: fc.constantFrom(false, false, false, false, false, true),
      receipt: fc.boolean(),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      kind: fc.constant('claim' as const),
      rooms: fc.array(fc.tuple(worker, fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 3 }),
      stale: fc.constantFrom(false, false, false, false, true),
    }),
  },
  // Which of all holds there ever were, counted from the latest one: mostly of those that still are.
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      which: fc.array(hold, { minLength: 1, maxLength: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('extend' as const),
      which: fc.array(hold, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('release' as const),
      which: hold,
      cause: fc.constantFrom('rejected' as const, 'rejected' as const, 'unpushed' as const),
      requeue: fc.constantFrom(true, true, true, false),
      delayed: fc.boolean(),
      reason: fc.constantFrom(null, 'busy'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('join' as const),
      worker,
      capable: fc.constantFrom(true, true, true, false),
      resumes: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('leave' as const),
      worker,
      departure: fc.constantFrom<Departure>('lost', 'lost', 'keep', 'unregister'),
      grace: fc.constantFrom(0, 0, NEVER_MS),
      // A hub that died says nothing of its sessions; another one does.
      knownFence: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('expire' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tick' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

async function queuesRun(core: Core, namespace: string, steps: readonly Step[]): Promise<void> {
  const { queues, registry, sends } = core
  const boss = await join(core, 'boss', { namespace, fields: { capabilities: ['asking'] } })
  const model = new ModelQueue()
  const holds: Hold[] = []
  const pick = (any: number): Hold | undefined =>
    (any % 3 === 0 ? holds : holds.filter((known) => model.find(known) !== undefined)).at(
      -1 - Math.floor(any / 3),
    )

  const send = async (count: number, expired: boolean, receipt: boolean): Promise<void> => {
    const recipients = [...model.agents.values()].filter(({ capable }) => capable).length
    const expiresAt = Date.now() + (expired ? -1000 : NEVER_MS)
    const ids = Array.from({ length: count }, () => `m${(model.sent += 1)}`)
    same(
      await sends.store(
        namespace,
        ids.map((id) => sendOf(boss.sender, toQueue(WORK), id, { expiresAt, receipt })),
      ),
      ids.map(() => ({ outcome: 'queued', recipients })),
    )
    for (const id of ids) {
      const counts = { claim: 0, pushes: 0, attempts: 0 }
      const rest = { holder: null, lostBy: null, delayed: false, told: false }
      model.tasks.push({ id, expired, receipt, ...counts, ...rest })
    }
  }

  const enter = async (agentId: Worker, capable: boolean, resumes: boolean): Promise<void> => {
    const fields = { capabilities: [capable ? WORK : 'asking'] }
    const session = await join(core, agentId, { namespace, proved: true, fields })
    const held = model.heldBy(agentId)
    alike(session, { resumed: model.agents.has(agentId), holding: held.length })
    model.agents.set(agentId, { session, capable, connected: true, due: false })
    if (!resumes) return
    const { fence } = session.sender
    const resumed = await queues.resume(namespace, agentId, fence)
    for (const task of held) {
      task.pushes += 1
      holds.push({ agentId, id: task.id, claim: task.claim, fence })
    }
    alike(
      resumed,
      held.map(({ id, pushes }) => ({ id, attempt: pushes })),
    )
  }

  const claim = async (rooms: readonly (readonly [Worker, number])[], stale: boolean): Promise<void> => {
    const claimants = rooms.flatMap(([agentId, room]) => {
      const fence = model.agents.get(agentId)?.session.sender.fence ?? 1
      return { agentId, fence: stale ? fence - 1 : fence, room, concurrency: CONCURRENCY }
    })
    const { tasks, left } = await queues.claim(namespace, WORK, claimants)
    const expected: unknown[] = []
    let takers = rooms.filter(([agentId]) => !stale && model.agents.get(agentId)?.connected === true)
    while (takers.length > 0) {
      const again: (readonly [Worker, number])[] = []
      for (const [agentId, room] of takers) {
        if (model.heldBy(agentId).length >= CONCURRENCY) continue
        const task = model.firstFor(agentId)
        const fence = model.agents.get(agentId)?.session.sender.fence
        if (task === undefined || fence === undefined) continue
        task.holder = agentId
        task.claim += 1
        task.pushes += 1
        const { id, pushes: attempt, claim: number } = task
        holds.push({ agentId, id, claim: number, fence })
        expected.push({ agentId, id, capability: WORK, text: frame(id), attempt, claim: number })
        if (room > 1) again.push([agentId, room - 1])
      }
      takers = again
    }
    same(tasks, expected)
    same(left >= model.waiting.length, true)
  }

  const tick = async (): Promise<void> => {
    for (const task of [...model.tasks]) {
      if (task.holder !== null) model.lose(task, true, 'ack_timeout')
      else if (task.expired) model.giveUp(task, 'expired')
      task.delayed = false
    }
    const state = async (): Promise<unknown> => {
      await queues.tick(namespace, 1000)
      const held = await Promise.all(WORKERS.map((agentId) => queues.held(namespace, agentId)))
      return [held.flat(), await waitingIn(core, WORK, namespace), await queues.size(namespace, WORK)]
    }
    await expect
      .poll(state, { interval: 1, timeout: 2_000 })
      .toEqual([[], model.waiting.length, model.tasks.length])
  }

  const inspect = async (): Promise<void> => {
    for (const agentId of WORKERS) {
      const expected = model.heldBy(agentId).map(({ id, pushes, claim: number }) => ({
        id,
        capability: WORK,
        text: frame(id),
        attempt: pushes,
        claim: number,
      }))
      same(await queues.held(namespace, agentId), expected)
    }
  }

  await enter('ann', true, false)
  await enter('ben', true, false)
  await send(4, false, true)
  for (const action of steps) {
    switch (action.kind) {
      case 'send':
        await send(action.count, action.expired, action.receipt)
        break
      case 'claim':
        await claim(action.rooms, action.stale)
        break
      case 'settle':
      case 'extend': {
        const wanted = action.which.map(pick).filter((wish) => wish !== undefined)
        await queues[action.kind](namespace, wanted)
        for (const wish of wanted) {
          const task = model.find(wish)
          if (task === undefined) continue
          if (action.kind === 'settle') model.settle(task, wish.agentId)
          else model.progress(task, wish.agentId)
        }
        break
      }
      case 'release': {
        const hold = pick(action.which)
        if (hold === undefined) break
        const { cause, requeue, delayed, reason } = action
        const delayMs = delayed ? 1 : 0
        const result = await queues.release(namespace, { ...hold, cause, requeue, delayMs, reason })
        const task = model.find(hold)
        if (task === undefined || model.agents.get(hold.agentId)?.session.sender.fence !== hold.fence) {
          same(result, { outcome: 'gone' })
          break
        }
        if (cause === 'unpushed') {
          task.pushes -= 1
          if (requeue) task.holder = null
        }
        const waits =
          (cause === 'unpushed' && requeue) ||
          model.lose(task, cause === 'rejected', reason ?? 'max_attempts', requeue)
        same(result.outcome, waits ? 'requeued' : 'dead')
        if (result.outcome === 'requeued') same(result.dueAt !== null, delayed)
        task.delayed = delayed
        break
      }
      case 'join':
        await enter(action.worker, action.capable, action.resumes)
        break
      case 'leave': {
        const { worker: agentId, departure, grace, knownFence } = action
        const agent = model.agents.get(agentId)
        if (agent === undefined) break
        const fence = knownFence ? agent.session.sender.fence : null
        await registry.leave(namespace, { agentId, fence, departure, graceMs: grace, marks: null })
        if (departure === 'lost') {
          agent.due ||= agent.connected && grace === 0
        } else {
          agent.due = false
          model.loseAll(agentId, false)
        }
        agent.connected = false
        if (departure === 'unregister') model.agents.delete(agentId)
        break
      }
      case 'expire': {
        const expected = [...model.agents].filter(([, { due }]) => due).map(([agentId]) => agentId)
        const due = await registry.due(namespace, 10)
        same(due.toSorted(), expected.toSorted())
        for (const agentId of expected) {
          await registry.expire(namespace, agentId)
          model.loseAll(agentId, true)
          const agent = model.agents.get(agentId)
          if (agent !== undefined) agent.due = false
        }
        break
      }
      case 'tick':
        await tick()
        break
    }
    await inspect()
  }

  await tick()
  // Whoever comes last gets all that is left, in order.
  for (const agentId of WORKERS) {
    const agent = model.agents.get(agentId)
    if (agent === undefined) continue
    const { fence } = agent.session.sender
    await registry.leave(namespace, { agentId, fence, departure: 'unregister', graceMs: 0, marks: null })
  }
  const { sender } = await join(core, 'dee', { namespace })
  const last = { agentId: 'dee', fence: sender.fence, room: 1000, concurrency: 1000 }
  const { tasks, left } = await queues.claim(namespace, WORK, [last])
  alike(
    tasks,
    model.tasks.map(({ id, claim: number, pushes }) => ({ id, claim: number + 1, attempt: pushes + 1 })),
  )
  same(left, 0)
  // Given up, they tell how often they failed.
  const farewell = { cause: 'rejected', requeue: false, delayMs: 0, reason: 'end' } as const
  for (const { agentId, id, claim: number } of tasks) {
    const rejected = { agentId, id, claim: number, fence: sender.fence, ...farewell }
    same(await queues.release(namespace, rejected), { outcome: 'dead' })
  }
  for (const { id, attempts, receipt } of model.tasks) {
    model.dead.push({ messageId: id, agentId: 'dee', reason: 'end', attempts: attempts + 1 })
    if (receipt) model.receipts.push({ id, agentId: 'dee', status: 'dead_lettered', reason: 'end' })
  }
  same(await queues.size(namespace, WORK), 0)
  const byId = (a: { messageId?: string | null; id?: string }, b: typeof a): number =>
    (a.messageId ?? a.id ?? '') < (b.messageId ?? b.id ?? '') ? -1 : 1
  const dead = await core.deadLetters.list(namespace, null, 1000)
  alike(dead.toSorted(byId), model.dead.toSorted(byId))
  // What one message is told comes in order; several may end by the same step.
  const receipts = await receiptsOf(core, 'boss', namespace)
  alike(receipts.toSorted(stably), model.receipts.toSorted(stably))
}

const stably = (a: { readonly id: string }, b: typeof a): number => (a.id === b.id ? 0 : a.id < b.id ? -1 : 1)

/** `Queues` against a list: nothing is lost, nothing is held by two, and each message ends once. */
export function queuesProperties({ openCore }: CoreFactory, numRuns: number): void {
  test('work waits, is held by one agent or has ended once, in order where nobody lost it', async () => {
    expect.hasAssertions()
    const limits = { maxAttempts: MAX_ATTEMPTS, ackTimeoutMs: 1, retentionMs: NEVER_MS }
    const core = await openCore(limits)
    await checkRuns(step, numRuns, (namespace, steps) => queuesRun(core, namespace, steps))
  })
}
