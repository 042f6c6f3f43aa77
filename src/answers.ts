/** What the operations API answers, for those who ask it. */
export type {
  AgentsPage as AgentsAnswer,
  HubInfo as HubAnswer,
  QueuesPage as QueuesAnswer,
} from './hub/operations.ts'
