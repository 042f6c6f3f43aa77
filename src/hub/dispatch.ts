import * as z from 'zod/mini'
import { type Command, type CommandType, COMMANDS, type Ref } from '../../protocol/commands.ts'
import { cut, show } from '../../protocol/agent.ts'
import { MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Connection } from './connection.ts'
import { ANYBODY, type Principal } from '../auth/principal.ts'
import { auth } from './commands/auth.ts'
import { ack, nack, progress } from './commands/acknowledge.ts'
import { bye } from './commands/bye.ts'
import { listDeadLetters, purgeDeadLetters, redriveDeadLetters } from './commands/dead-letters.ts'
import { discover } from './commands/discover.ts'
import { hello } from './commands/hello.ts'
import { leader } from './commands/leader.ts'
import { ping, pong } from './commands/ping.ts'
import { refuseSend, send } from './commands/send.ts'
import { streamCancel, streamChunk, streamCredit, streamEnd, streamOpen } from './commands/stream.ts'
import { subscribe, unsubscribe } from './commands/subscribe.ts'
import { update } from './commands/update.ts'
import { readAck, readChunk, readSend } from './hot-frames.ts'
import type { Namespace } from './namespace.ts'
import { demand, needsOf } from './needs.ts'
import type { Session } from './session.ts'
import { recheck } from './standing.ts'

z.config(z.locales.en())

/** Where a command of an open connection runs; `session` is null for an observer. */
export interface Context {
  readonly connection: Connection
  readonly namespace: Namespace
  readonly session: Session | null
}

const HANDLERS: {
  readonly [Type in Exclude<CommandType, 'hello'>]: (context: Context, command: never) => void | Promise<void>
} = {
  auth,
  bye,
  send,
  ack,
  nack,
  progress,
  ping,
  pong,
  discover,
  update,
  leader,
  subscribe,
  unsubscribe,
  'dead-letters.list': listDeadLetters,
  'dead-letters.redrive': redriveDeadLetters,
  'dead-letters.purge': purgeDeadLetters,
  'stream.open': streamOpen,
  'stream.credit': streamCredit,
  'stream.chunk': streamChunk,
  'stream.end': streamEnd,
  'stream.cancel': streamCancel,
}

/** What answers or acknowledges never waits for the rate: it makes room. */
const UNCOUNTED: ReadonlySet<string> = new Set([
  'ack',
  'nack',
  'progress',
  'pong',
  // Held to the receiver's credit instead.
  'stream.credit',
  'stream.chunk',
  'stream.end',
  'stream.cancel',
])

/** It counts like any other send where there is nothing that it could answer. */
const isAnswer = ({ type, messageType, correlationId }: Record<string, unknown>): boolean =>
  type === 'send' && messageType === 'response' && typeof correlationId === 'string'

function refOf(frame: Record<string, unknown>): Ref | undefined {
  const { ref } = frame
  if (typeof ref === 'string') return ref.length <= LIMITS.stringChars ? ref : undefined
  return Number.isSafeInteger(ref) ? (ref as number) : undefined
}

/** Fields whose values prove who somebody is: what is told of a frame ends up in logs. */
const SECRETS: ReadonlySet<unknown> = new Set(['token', 'session'])

/** Characters that are told of a rule: that unknown fields are refused names them all. */
const RULE_CHARS = 256

/** Says what is wrong with a frame: the field, its value unless that is a secret, the rule. */
function explain(
  type: string,
  frame: Record<string, unknown>,
  issues: readonly z.core.$ZodIssue[],
): MeshError {
  const [issue] = issues
  const path = issue?.path ?? []
  let value: unknown = frame
  for (const key of path)
    value =
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined
  const shown = SECRETS.has(path[0]) ? 'wrong' : show(value)
  const where =
    path.length > 0
      ? `${cut(path.join('.'))} is ${value === undefined ? 'missing' : shown}`
      : 'the frame is wrong'
  return new MeshError(
    'bad_frame',
    `${type}: ${where}; ${cut(issue?.message ?? 'see the protocol', RULE_CHARS)}`,
    {
      details: issue?.path,
    },
  )
}

function fail(connection: Connection, ref: Ref | undefined, error: unknown): void {
  if (error instanceof MeshError) {
    connection.fail(ref, error)
    return
  }
  connection.log.error({ err: error }, 'command failed')
  connection.fail(
    ref,
    new MeshError('internal', 'the hub failed at this request; try again', { cause: error }),
  )
}

/** What comes in floods. */
const QUICK: { readonly [Type in CommandType]?: (frame: Record<string, unknown>) => Command | null } = {
  ack: readAck,
  send: readSend,
  'stream.chunk': readChunk,
}

/** @throws MeshError `bad_frame` */
function parse(type: CommandType, frame: Record<string, unknown>): Command {
  const quick = QUICK[type]?.(frame)
  if (quick) return quick
  const parsed = z.safeParse(COMMANDS[type], frame)
  if (!parsed.success) throw explain(type, frame, parsed.error.issues)
  return parsed.data
}

/** One frame: state, rate, shape, permission, command. Every error of a command ends here. */
export function dispatch(connection: Connection, frame: Record<string, unknown>): void {
  const { type } = frame
  const { state } = connection
  if (state === 'closing') return
  if ((state === 'greeting') !== (type === 'hello') || state === 'opening') {
    connection.close('bad_protocol')
    return
  }
  if (typeof type !== 'string' || !UNCOUNTED.has(type)) {
    // Who does not read the answers is asked no further, so that they do not pile up here.
    if (connection.behind) {
      connection.putBack(frame)
      connection.holdBehind()
      return
    }
    const waitMs = isAnswer(frame) && connection.outbox.takeAnswer() ? 0 : connection.takeRate(Date.now())
    if (waitMs > 0) {
      connection.putBack(frame)
      connection.holdFor('rate', waitMs)
      return
    }
  }
  const ref = refOf(frame)
  if (typeof type !== 'string' || !Object.hasOwn(COMMANDS, type)) {
    const known = Object.keys(COMMANDS).join(', ')
    connection.fail(
      ref,
      new MeshError('bad_frame', `type ${show(type)} is unknown; this hub knows ${known}`, { details: type }),
    )
    return
  }
  try {
    const command = parse(type as CommandType, frame)
    const { namespace, session, principal } = connection
    if (command.type === 'hello') {
      run(connection, ref, hello(connection, command), null)
    } else if (namespace && principal) {
      if (principal !== ANYBODY)
        demand(principal, needsOf(command, { namespace: namespace.name, agentId: session?.agentId ?? null }))
      run(
        connection,
        ref,
        HANDLERS[type as keyof typeof HANDLERS]({ connection, namespace, session }, command as never),
        principal,
      )
    }
  } catch (error) {
    // A refused send ends its seq, and the store has to know that.
    if (type === 'send' && error instanceof MeshError && refuseSend(connection, frame, ref, error)) return
    fail(connection, ref, error)
    // What is wrong acknowledges nothing.
    if (UNCOUNTED.has(type)) connection.charge()
  }
}

/** @param judged whose permissions the command was judged by; null: it judges itself */
function run(
  connection: Connection,
  ref: Ref | undefined,
  result: void | Promise<void>,
  judged: Principal | null,
): void {
  if (!result) return
  result.then(
    () => judged && recheck(connection, judged),
    (error: unknown) => fail(connection, ref, error),
  )
}
