import { show } from '../../protocol/agent.ts'
import type { Command, CommandType, Send, Subscribe, Update } from '../../protocol/commands.ts'
import { MeshError } from '../../protocol/errors.ts'
import { permissionText, type Subject, type SubjectKind, type Verb } from '../auth/permission.ts'
import { may, type Principal } from '../auth/principal.ts'

/** What a principal must be permitted. */
export interface Need {
  readonly verb: Verb
  readonly subject: Subject
}

/** Of whom and where a command is judged. */
export interface Place {
  readonly namespace: string
  /** Null for an observer. */
  readonly agentId: string | null
}

export const need = (verb: Verb, kind: SubjectKind, value: string): Need => ({
  verb,
  subject: { kind, value },
})

const serving = (capabilities: readonly string[] | null | undefined): Need[] =>
  (capabilities ?? []).map((capability) => need('serve', 'capability', capability))

/** What registering an agent needs; leading, where that is asked for, is judged by who registers. */
export const registering = (agentId: string, capabilities: readonly string[]): Need[] => [
  need('register', 'agent', agentId),
  ...serving(capabilities),
]

/** Every key that is given counts, also where there must be only one. */
function sending({ to }: Send): Need[] {
  const needs: Need[] = []
  if (to.agent != null) needs.push(need('send', 'agent', to.agent))
  if (to.name != null) needs.push(need('send', 'name', to.name))
  if (to.leader != null) needs.push(need('send', 'role', 'leader'))
  if (to.capability != null)
    needs.push(need(to.mode === 'all' ? 'broadcast' : 'send', 'capability', to.capability))
  if (to.group != null) needs.push(need('broadcast', 'group', to.group))
  if (to.all != null) needs.push(need('broadcast', 'role', 'all'))
  return needs
}

function updating({ capabilities, leaderEligible }: Update, { namespace, agentId }: Place): Need[] {
  const needs = serving(capabilities)
  if (leaderEligible === true) needs.push(need('lead', 'namespace', namespace))
  if (agentId !== null) needs.push(need('register', 'agent', agentId))
  return needs
}

/** Which dead letters there are is the business of who administers. */
export function watching({ events }: Pick<Subscribe, 'events'>, { namespace }: Place): Need[] {
  const needs = [need('watch', 'namespace', namespace)]
  if (events?.includes('message.dead_lettered')) needs.push(need('admin', 'namespace', namespace))
  return needs
}

const NONE: readonly Need[] = []
const none = (): readonly Need[] => NONE
const discovering = (_command: never, { namespace }: Place): Need[] => [
  need('discover', 'namespace', namespace),
]
const administering = (_command: never, { namespace }: Place): Need[] => [
  need('admin', 'namespace', namespace),
]

/** What each command needs; `hello` finds out who asks first, and judges for itself. */
const NEEDS: {
  readonly [Type in Exclude<CommandType, 'hello'>]: (command: never, place: Place) => readonly Need[]
} = {
  // About its own connection, or what it was given already.
  auth: none,
  bye: none,
  ack: none,
  nack: none,
  progress: none,
  ping: none,
  pong: none,
  unsubscribe: none,
  'stream.credit': none,
  'stream.chunk': none,
  'stream.end': none,
  'stream.cancel': none,
  send: sending,
  'stream.open': ({ to }: { to: { agent: string } }) => [need('send', 'agent', to.agent)],
  discover: discovering,
  leader: discovering,
  update: updating,
  subscribe: watching,
  'dead-letters.list': administering,
  'dead-letters.redrive': administering,
  'dead-letters.purge': administering,
}

/** What a command of an open connection needs. */
export const needsOf = (command: Exclude<Command, { type: 'hello' }>, place: Place): readonly Need[] =>
  NEEDS[command.type](command as never, place)

/** Whether a principal is permitted that. */
export const permits = (principal: Principal, { verb, subject }: Need): boolean =>
  may(principal, verb, subject)

/** @throws MeshError `forbidden`, naming what is not permitted and the permission that would */
export function demand(principal: Principal, needs: readonly Need[]): void {
  for (const { verb, subject } of needs) {
    if (may(principal, verb, subject)) continue
    throw new MeshError(
      'forbidden',
      `the token of ${show(principal.subject)} does not permit to ${verb}: ${subject.kind} ${show(subject.value)}; it takes the permission ${show(permissionText(verb, subject))}`,
      { details: { verb, ...subject } },
    )
  }
}
