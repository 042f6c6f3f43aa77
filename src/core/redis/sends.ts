import type { ErrorCode } from '../../../protocol/errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Lane } from '../inboxes.ts'
import type { ReceiptWish } from '../receipts.ts'
import type { Send, Sender, SendOutcome, Sends } from '../sends.ts'
import type { Argument } from './connections.ts'
import type { NamespaceKeys } from './keys.ts'
import { INLINE_MAX, type Store } from './store.ts'

export class RedisSends implements Sends {
  readonly #store: Store
  /**
   * Namespace → who got copies of the latest broadcasts. Their inboxes have to be declared; who they are only the store knows, and says where one is
   * missing.
   */
  readonly #copied = new Map<string, readonly string[]>()

  constructor(store: Store) {
    this.#store = store
  }

  async store(namespace: string, batch: readonly Send[]): Promise<readonly SendOutcome[]> {
    const keys = this.#store.keys.of(namespace)
    const call = new SendCall(keys)
    for (const send of batch) call.add(send)
    if (batch.some(({ to }) => to.kind === 'members')) {
      for (const agentId of this.#copied.get(namespace) ?? []) call.declare(agentId)
    }
    const reply = (await this.#store.run(keys, 'send', call.keys(), call.args(this.#store))) as (
      | number
      | string
    )[]
    return batch.map((send, index) => {
      const answer = reply[index] ?? 'X'
      if (typeof answer === 'string' && answer[0] === 'L') {
        this.#copied.set(namespace, JSON.parse(answer.slice(1)) as string[])
      }
      return parseOutcome(send, answer)
    })
  }
}

/** The arguments of one call of lua/send.lua: agents and keys once, sends in runs of one sender. */
class SendCall {
  readonly #keys: NamespaceKeys
  readonly #agents = new Map<string, number>()
  readonly #lanes = new Map<string, number>()
  readonly #laneArgs: Argument[] = []
  readonly #producers = new Map<string, number>()
  readonly #receipts = new Map<string, number>()
  #queued = false
  readonly #runs: Argument[] = []
  #runCount = 0
  #sender: Sender | null = null
  #numbered = false
  #nextSeq = 0
  #countAt = 0

  constructor(keys: NamespaceKeys) {
    this.#keys = keys
  }

  add(send: Send): void {
    const numbered = send.seq !== null
    if (
      send.sender !== this.#sender ||
      numbered !== this.#numbered ||
      (numbered && send.seq !== this.#nextSeq)
    )
      this.#beginRun(send)
    this.#nextSeq = (send.seq ?? 0) + 1
    this.#runs[this.#countAt] = (this.#runs[this.#countAt] as number) + 1
    this.#addSend(send)
  }

  #beginRun({ sender, seq }: Send): void {
    const producers = seq === null ? 0 : this.#place(this.#producers, this.#keys.producers(sender.agentId))
    this.#countAt = this.#runs.length + 5
    const { door, registered, owner } = sender
    const fence = door === undefined ? sender.fence : `@${door}:${registered ? '!' : ''}${owner ?? ''}`
    this.#runs.push(this.#agent(sender.agentId), fence, producers, sender.producer ?? '', seq ?? 0, 0)
    this.#runCount++
    this.#sender = sender
    this.#numbered = seq !== null
  }

  /** An inbox that something may be copied to. */
  declare(agentId: string): void {
    this.#lane(agentId, 'inbox')
  }

  #addSend({ to, asLeader, text, expiresAt, receipt }: Send): void {
    const runs = this.#runs
    switch (to.kind) {
      case 'agent':
        if (to.name === null && asLeader === null && expiresAt === null && !receipt) {
          runs.push('a', this.#lane(to.agentId, to.lane), text)
        } else {
          runs.push(
            'A',
            to.agentId === '' ? 0 : this.#lane(to.agentId, to.lane),
            text,
            expiresAt ?? '',
            to.name ?? '',
            asLeader ?? '',
            this.#receipt(to.agentId, receipt),
          )
        }
        break
      case 'leader':
        runs.push(
          'l',
          to.agentId === '' ? 0 : this.#lane(to.agentId, to.lane),
          text,
          expiresAt ?? '',
          asLeader ?? '',
          this.#receipt(to.agentId, receipt),
        )
        break
      case 'members':
        runs.push('m', to.of, to.value, to.echo ? 1 : 0, text, expiresAt ?? '', asLeader ?? '')
        break
      case 'queue':
        runs.push(
          'q',
          to.capability,
          text,
          expiresAt ?? '',
          asLeader ?? '',
          to.ifNone === 'fail' ? 1 : 0,
          receipt === 'failure' ? 'f' : receipt ? 1 : 0,
        )
        this.#queued = true
        break
      case 'transient':
        runs.push('t', to.recipients, asLeader ?? '')
        break
      case 'refused':
        runs.push('r', to.code)
        break
    }
  }

  /** The 1-based place of a value, which is added where it is new. */
  #place(places: Map<string, number>, value: string): number {
    let place = places.get(value)
    if (place === undefined) {
      place = places.size + 1
      places.set(value, place)
    }
    return place
  }

  #agent(agentId: string): number {
    return this.#place(this.#agents, agentId)
  }

  #lane(agentId: string, lane: Lane): number {
    const known = this.#lanes.size
    const place = this.#place(this.#lanes, this.#keys.lane(agentId, lane))
    if (place > known) this.#laneArgs.push(this.#agent(agentId), lane === 'inbox' ? 'i' : 'r')
    return place
  }

  /** The place of the key that notes a receipt, below 0 where only a failure is told; 0: none is. */
  #receipt(agentId: string, receipt: ReceiptWish): number {
    if (!receipt || agentId === '') return 0
    const place = this.#place(this.#receipts, this.#keys.receipts(agentId))
    return receipt === 'failure' ? -place : place
  }

  keys(): string[] {
    const { meta, names, sessions, members, broadcasts, expiries } = this.#keys
    return [
      meta,
      names,
      sessions,
      members,
      broadcasts,
      expiries,
      ...this.#lanes.keys(),
      ...this.#producers.keys(),
      ...this.#receipts.keys(),
      ...(this.#queued ? this.#keys.queue() : []),
    ]
  }

  args({ limits, connections }: Store): Argument[] {
    return [
      connections.publishCommand,
      this.#keys.root,
      this.#sender?.hub ?? '',
      limits.inboxMax,
      limits.broadcastMax,
      INLINE_MAX,
      LIMITS.producerWindow,
      this.#agents.size,
      this.#lanes.size,
      this.#runCount,
      this.#producers.size,
      limits.queueMax,
      limits.retentionMs,
      limits.httpInboxMax,
      limits.httpMessageTtlMs,
      limits.namespaceInboxBytesMax,
      ...this.#agents.keys(),
      ...this.#laneArgs,
      ...this.#runs,
    ]
  }
}

function parseOutcome(send: Send, reply: number | string): SendOutcome {
  if (typeof reply === 'number') {
    return {
      outcome: 'stored',
      agentId: send.to.kind === 'agent' || send.to.kind === 'leader' ? send.to.agentId : '',
      number: reply,
    }
  }
  const rest = reply.slice(1)
  switch (reply[0]) {
    case 'B': {
      const [number, recipients] = rest.split(' ', 2)
      const broadcast = {
        outcome: 'broadcast',
        number: Number(number),
        recipients: Number(recipients),
      } as const
      if (send.sender.door === undefined) return broadcast
      const ids = rest.slice(`${number} ${recipients} `.length)
      return { ...broadcast, agentIds: JSON.parse(ids) as string[] }
    }
    case 'Q':
      return { outcome: 'queued', recipients: Number(rest) }
    case 'C':
      return { outcome: 'counted' }
    case 'D':
      return { outcome: 'duplicate', recipients: Number(rest) }
    case 'E':
      return { outcome: 'refused', code: rest as ErrorCode, repeated: false }
    case 'R':
      return { outcome: 'refused', code: rest as ErrorCode, repeated: true }
    case 'M':
      return { outcome: 'moved', agentId: rest }
    case 'L':
      return { outcome: 'moved', agentId: '' }
    case 'P':
      return { outcome: 'postponed' }
    case 'G':
      return { outcome: 'gap', expected: Number(rest) }
    case 'O':
      return { outcome: 'too_old' }
    default:
      return { outcome: 'fenced' }
  }
}
