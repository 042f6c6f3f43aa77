import { show } from '../../protocol/agent.ts'
import type { Ref, Send as SendFrame } from '../../protocol/commands.ts'
import { ERRORS } from '../../protocol/error-table.ts'
import { type ErrorCode, MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { ReceiptWish } from '../core/receipts.ts'
import type { Destination, Sender, SendOutcome } from '../core/sends.ts'
import type { SendOutcomeName } from '../observability/metrics.ts'
import type { Traced } from '../observability/tracing.ts'
import type { Commit } from './group-commit.ts'
import { kindOf, OUTCOMES } from './send-outcomes.ts'
import { openBefore, type Session } from './session.ts'

export interface PendingSendOptions {
  readonly session: Session
  readonly ref: Ref
  readonly id: string
  readonly seq: number | null
  /** As the frame names it, for error messages. */
  readonly target: SendFrame['to'] | null
  readonly to: Destination
  readonly asLeader: number | null
  /** The frame to push; `""` where nothing is stored. */
  readonly text: string
  readonly expiresAt: number | null
  readonly receipt: ReceiptWish
  /** Pushes a transient message, once the store has counted it. */
  readonly push: (() => void) | null
  /** The error that ended it before it came to the store. */
  readonly refusal: MeshError | null
  /** Ends with the answer. */
  readonly span: Traced | null
}

/** What ends a seq, or says that it has ended before. */
const ENDS: ReadonlySet<SendOutcome['outcome']> = new Set([
  'stored',
  'broadcast',
  'queued',
  'counted',
  'duplicate',
  'refused',
  'too_old',
])

/** A send that waits for the store's answer: what the store is handed, and what becomes of the answer. One object a send. */
export class PendingSend implements Commit {
  readonly sender: Sender
  readonly seq: number | null
  to: Destination
  readonly asLeader: number | null
  readonly text: string
  readonly expiresAt: number | null
  readonly receipt: ReceiptWish
  readonly #session: Session
  readonly #ref: Ref
  readonly #id: string
  readonly #target: SendFrame['to'] | null
  readonly #push: (() => void) | null
  readonly #refusal: MeshError | null
  readonly #span: Traced | null

  constructor({
    session,
    ref,
    id,
    seq,
    target,
    to,
    asLeader,
    text,
    expiresAt,
    receipt,
    push,
    refusal,
    span,
  }: PendingSendOptions) {
    this.sender = session.sender
    this.seq = seq
    this.to = to
    this.asLeader = asLeader
    this.text = text
    this.expiresAt = expiresAt
    this.receipt = receipt
    this.#session = session
    this.#ref = ref
    this.#id = id
    this.#target = target
    this.#push = push
    this.#refusal = refusal
    this.#span = span
  }

  retarget(agentId: string): void {
    const { to } = this
    if (to.kind === 'agent' || to.kind === 'leader') this.to = { ...to, agentId }
  }

  /** What was refused before it came here was never a send. */
  #count(outcome: SendOutcomeName): void {
    if (this.#refusal === null) this.#session.namespace.metrics.sent(kindOf(this.to), outcome)
  }

  onOutcome(outcome: SendOutcome): void {
    this.#session.end()
    this.#count(OUTCOMES[outcome.outcome])
    if (this.seq !== null && ENDS.has(outcome.outcome)) this.#session.endSeq(this.seq)
    switch (outcome.outcome) {
      case 'stored': {
        const { to } = this
        if (to.kind === 'agent' || to.kind === 'leader') {
          this.#session.namespace
            .session(to.agentId)
            ?.delivery.offer(to.lane, outcome.number, this.text, this.expiresAt, this.#id)
        }
        this.#ok(1, false)
        break
      }
      case 'broadcast':
      case 'queued':
        this.#ok(outcome.recipients, false)
        break
      case 'counted':
        this.#push?.()
        this.#ok(this.to.kind === 'transient' ? this.to.recipients : 0, false)
        break
      case 'duplicate':
        this.#ok(outcome.recipients, true)
        break
      case 'refused':
        this.#fail(this.#refusal ?? this.#explain(outcome.code))
        break
      case 'gap':
        // Where a lower one was lost with a failed call, this one was under way behind it.
        if (this.#session.wasLost(outcome.expected)) this.#leaveOpen(openBefore(outcome.expected))
        else
          this.#fail(
            new MeshError(
              'bad_frame',
              `seq is ${this.seq}, expected ${outcome.expected}: number sends from 1 without gaps`,
            ),
          )
        break
      case 'too_old':
        this.#fail(
          new MeshError(
            'seq_too_old',
            `seq ${this.seq} is more than ${LIMITS.producerWindow} behind: its answer is not known any more`,
          ),
        )
        break
      case 'fenced':
      case 'moved':
      case 'postponed':
        this.#onFenced()
        break
    }
  }

  /** Another session has the agent, or (after a loss of data) none: either way this connection ends. */
  #onFenced(): void {
    if (this.#session.connection.state !== 'open') {
      this.#span?.end('store_unavailable')
      return
    }
    void this.#session.onFenced()
    this.#leaveOpen(
      new MeshError(
        'store_unavailable',
        'this session is over, nothing was stored; connect again and send it again',
        { retryAfterMs: 0 },
      ),
    )
  }

  onFailure(error: unknown): void {
    this.#session.end()
    this.#count('failed')
    if (error instanceof MeshError) {
      this.#leaveOpen(error)
      return
    }
    this.#session.connection.log.error({ err: error }, 'send failed')
    this.#leaveOpen(
      new MeshError('store_unavailable', 'the store failed at this send; send it again', {
        cause: error,
        retryAfterMs: 500,
      }),
    )
  }

  /** Not stored, as far as is known: the client sends the same again. */
  #leaveOpen(error: MeshError): void {
    if (this.seq !== null) this.#session.leaveOpen(this.seq)
    this.#fail(error)
  }

  #ok(recipients: number, duplicate: boolean): void {
    this.#span?.end(null)
    const more = duplicate ? ',"duplicate":true' : ''
    this.#session.connection.push(
      `{"type":"ok","ref":${JSON.stringify(this.#ref)},"result":{"id":"${this.#id}","recipients":${recipients}${more}}}`,
    )
  }

  #fail(error: MeshError): void {
    this.#span?.end(error.code)
    this.#session.connection.fail(this.#ref, error)
  }

  #explain(code: ErrorCode): MeshError {
    const { namespace } = this.#session
    const name = this.#target?.name
    switch (code) {
      case 'unknown_target': {
        const target = name == null ? show(this.#target?.agent ?? '') : `named ${show(name)}`
        return new MeshError(code, `no agent ${target} in namespace ${show(namespace.name)}`)
      }
      case 'no_capable_agent': {
        const capability = show(this.#target?.capability ?? '')
        const text = `no registered agent of namespace ${show(namespace.name)} has the capability ${capability}; leave "ifNone" out to let it wait for one`
        return new MeshError(code, text)
      }
      case 'inbox_full': {
        if (this.to.kind === 'queue') {
          const text = `the queue of ${show(this.to.capability)} holds ${namespace.settings.queueMax} messages; send again later`
          return new MeshError(code, text, { retryAfterMs: 1_000 })
        }
        const agentId = this.to.kind === 'agent' || this.to.kind === 'leader' ? this.to.agentId : ''
        const text = `the inbox of ${show(agentId)} holds ${namespace.settings.inboxMax} messages; send again later`
        return new MeshError(code, text, { retryAfterMs: 1_000 })
      }
      case 'quota_exceeded': {
        const { namespaceInboxBytesMax } = namespace.settings
        const text = `with this message the inboxes of namespace ${show(namespace.name)} would hold more than ${namespaceInboxBytesMax} bytes; send again later`
        return new MeshError(code, text, { retryAfterMs: 1_000 })
      }
      case 'no_leader':
        return new MeshError(
          code,
          `namespace ${show(namespace.name)} has no leader now; send again when one is elected`,
        )
      case 'stale_term':
        return new MeshError(
          code,
          `this agent does not lead with term ${this.asLeader}; ask for the leader and its term`,
        )
      default:
        return new MeshError(code, `${ERRORS[code].sentence} This seq has ended with this error before.`)
    }
  }
}
