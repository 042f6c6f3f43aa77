import { MESSAGE_TYPE_PATTERN } from '../../../protocol/message.ts'

/** The kinds that spec-ai knows by name, and how our protocol writes them; the first six it always had. */
export const UNITS = {
  Query: 'query',
  Response: 'response',
  Notification: 'notification',
  TaskDelegation: 'task_delegation',
  TaskResult: 'task_result',
  GraphSync: 'graph_sync',
  CapabilityUpdate: 'capability_update',
  CapabilityQuery: 'capability_query',
  LearningShare: 'learning_share',
  ProposalSubmit: 'proposal_submit',
  ProposalVote: 'proposal_vote',
  WorkflowAssignment: 'workflow_assignment',
  WorkflowStageResult: 'workflow_stage_result',
} as const

export type Unit = keyof typeof UNITS

/** A message type as spec-ai has it. */
export type SpecAiType = { readonly unit: Unit } | { readonly custom: string }

/** What stands for a custom name that our protocol cannot write. */
const CUSTOM = 'custom'

const UNIT_OF: ReadonlyMap<string, Unit> = new Map(
  Object.entries(UNITS).map(([unit, name]) => [name, unit as Unit]),
)

/**
 * The type of our protocol, and, where that does not say it all, the custom name beside it: one outside of our characters, or one that our
 * protocol would take for a kind of its own.
 */
export function toOurs(type: SpecAiType): { messageType: string; customType: string | null } {
  if ('unit' in type) return { messageType: UNITS[type.unit], customType: null }
  const { custom } = type
  if (MESSAGE_TYPE_PATTERN.test(custom) && !UNIT_OF.has(custom)) {
    return { messageType: custom, customType: null }
  }
  return { messageType: CUSTOM, customType: custom }
}

/**
 * As JSON for a member, which refuses its whole inbox for a name it does not know.
 * @param kinds how many of the kinds it knows
 */
export function toSpecAi(messageType: string, customType: string | null, kinds: number): string {
  const unit = customType === null ? UNIT_OF.get(messageType) : undefined
  const isKnown = unit !== undefined && Object.keys(UNITS).indexOf(unit) < kinds
  return JSON.stringify(isKnown ? unit : { Custom: customType ?? messageType })
}
