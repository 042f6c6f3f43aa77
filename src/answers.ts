/** What the operations API answers, for those who ask it. */
export type {
  AgentsPage as AgentsAnswer,
  HubInfo as HubAnswer,
  QueueInfo as QueueAnswer,
  QueuesPage as QueuesAnswer,
} from './hub/operations.ts'
