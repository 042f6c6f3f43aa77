import type { Destination, SendOutcome } from '../core/sends.ts'
import type { SendKind, SendOutcomeName } from '../observability/metrics.ts'

/** As what a send of an agent with a session counts: it repeats what is `failed`. */
export const OUTCOMES: { readonly [Outcome in SendOutcome['outcome']]: SendOutcomeName } = {
  stored: 'accepted',
  broadcast: 'accepted',
  queued: 'accepted',
  counted: 'accepted',
  duplicate: 'duplicate',
  refused: 'refused',
  gap: 'refused',
  too_old: 'refused',
  moved: 'failed',
  postponed: 'failed',
  fenced: 'failed',
}

/** What kind of send it is that goes there. */
export function kindOf(to: Destination): SendKind {
  switch (to.kind) {
    case 'agent':
    case 'leader':
      return to.lane === 'replies' ? 'reply' : 'direct'
    case 'members':
      return 'broadcast'
    case 'queue':
      return 'queue'
    case 'transient':
    case 'refused':
      return 'transient'
  }
}
