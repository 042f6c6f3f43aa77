import { checkHolders, checkLeaders, checkSessions } from './check-holders.ts'
import { checkOnce } from './check-once.ts'
import { checkOrder } from './check-order.ts'
import { checkReceipts } from './check-receipts.ts'
import { checkGivenUp, checkStored } from './check-stored.ts'
import { checkWatch } from './check-watch.ts'
import type { History } from './history.ts'
import type { Violation } from './violation.ts'

const CHECKS = [
  checkStored,
  checkGivenUp,
  checkOrder,
  checkOnce,
  checkSessions,
  checkHolders,
  checkLeaders,
  checkWatch,
  checkReceipts,
] as const

/**
 * Every promise that a history shows to be broken. It knows nothing of the system but what clients saw of it: it imports
 * nothing of src, client or protocol.
 */
export const check = (history: History): Violation[] => CHECKS.flatMap((one) => one(history))
