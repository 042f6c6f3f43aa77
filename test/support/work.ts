import { expect } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Claimant, Hold, Release, Task } from '../../src/core/queues.ts'
import type { Receipt } from '../../src/core/receipts.ts'
import type { Send } from '../../src/core/sends.ts'
import { join, NS, sendOf, store, toQueue, type Joined, type JoinOptions } from './core.ts'

/** The capability of workers where nothing else is said. */
export const WORK = 'nlp'

/** What a claim granted. */
export type Granted = Task & { readonly agentId: string }

/** An agent that sends work and cannot do any. */
export function joinBoss(core: Core, options: JoinOptions = {}): Promise<Joined> {
  return join(core, 'boss', { ...options, fields: { capabilities: ['asking'] } })
}

/** Stores work by these ids. */
export async function storeWork(
  core: Core,
  { sender }: Joined,
  ids: readonly string[],
  more: Partial<Send> = {},
): Promise<void> {
  for (const id of ids) {
    expect(await store(core, sendOf(sender, toQueue(WORK), id, more))).toMatchObject({ outcome: 'queued' })
  }
}

export const claimantOf = ({ sender }: Joined, room = 1, concurrency = 1024): Claimant => ({
  agentId: sender.agentId,
  fence: sender.fence,
  room,
  concurrency,
})

/** One agent takes what it can. */
export async function claim(core: Core, joined: Joined, room = 1): Promise<readonly Granted[]> {
  return (await core.queues.claim(NS, WORK, [claimantOf(joined, room)])).tasks
}

/** One agent takes one message that has to be there. */
export async function claimOne(core: Core, joined: Joined): Promise<Granted> {
  const [task] = await claim(core, joined)
  if (task === undefined) throw new Error('nothing waits')
  return task
}

export const holdOf = ({ agentId, id, claim: number }: Granted): Hold => ({ agentId, id, claim: number })

/** A rejection by the present session, unless `more` says otherwise. */
export const releaseOf = ({ sender }: Joined, task: Granted, more: Partial<Release> = {}): Release => ({
  ...holdOf(task),
  fence: sender.fence,
  cause: 'rejected',
  requeue: true,
  delayMs: 0,
  reason: null,
  ...more,
})

export const idsOf = (tasks: readonly Task[]): string[] => tasks.map(({ id }) => id)

export async function heldIds(core: Core, agentId: string): Promise<string[]> {
  return idsOf(await core.queues.held(NS, agentId))
}

/** How many wait that anybody may take. */
export async function waitingIn(core: Core, capability = WORK, namespace = NS): Promise<number> {
  return (await core.queues.claim(namespace, capability, [])).left
}

/** Lets the time pass until it has dealt with so much. */
export async function tickUntil(core: Core, count: number): Promise<void> {
  let dealt = 0
  await expect
    .poll(async () => (dealt += await core.queues.tick(NS, 100)), { interval: 5, timeout: 5_000 })
    .toBe(count)
}

/** A receipt as its reader gets it. */
export type ReadReceipt = Omit<Receipt, 'at'> & { type: string; receiptId: string; at: string }

/** The receipts that an agent has not acknowledged. */
export async function receiptsOf(core: Core, agentId: string, namespace = NS): Promise<ReadReceipt[]> {
  const { entries } = await core.inboxes.read(namespace, agentId, 'replies', 0, 1000)
  return entries.map(({ text }) => JSON.parse(text) as ReadReceipt).filter(({ type }) => type === 'receipt')
}
