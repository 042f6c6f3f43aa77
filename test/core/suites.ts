import { busSuite } from './bus.suite.ts'
import { broadcastsSuite } from './broadcasts.suite.ts'
import { deadLettersSuite } from './dead-letters.suite.ts'
import { depthsSuite } from './depths.suite.ts'
import { heartbeatsSuite } from './heartbeats.suite.ts'
import { inboxesSuite } from './inboxes.suite.ts'
import { leaderSuite } from './leader.suite.ts'
import { leasesSuite } from './leases.suite.ts'
import { numberedSendsSuite } from './numbered-sends.suite.ts'
import { ownersSuite } from './owners.suite.ts'
import { queueSendsSuite } from './queue-sends.suite.ts'
import { queuesClaimsSuite } from './queues-claims.suite.ts'
import { queuesLossSuite } from './queues-loss.suite.ts'
import { queuesTimeSuite } from './queues-time.suite.ts'
import { quotasSuite } from './quotas.suite.ts'
import { reclaimSuite } from './reclaim.suite.ts'
import { receiptsSuite } from './receipts.suite.ts'
import { redriveSuite } from './redrive.suite.ts'
import { registryChangesSuite } from './registry-changes.suite.ts'
import { registryWatchSuite } from './registry-watch.suite.ts'
import { registrySuite } from './registry.suite.ts'
import { sendsSuite } from './sends.suite.ts'
import { unreadSuite } from './unread.suite.ts'
import type { CoreFactory } from '../support/core.ts'

/** The contract of every port: what passes it is a core. */
export function coreSuites(factory: CoreFactory): void {
  registrySuite(factory)
  registryChangesSuite(factory)
  registryWatchSuite(factory)
  ownersSuite(factory)
  leaderSuite(factory)
  reclaimSuite(factory)
  heartbeatsSuite(factory)
  sendsSuite(factory)
  numberedSendsSuite(factory)
  inboxesSuite(factory)
  unreadSuite(factory)
  broadcastsSuite(factory)
  queueSendsSuite(factory)
  queuesClaimsSuite(factory)
  queuesLossSuite(factory)
  queuesTimeSuite(factory)
  depthsSuite(factory)
  receiptsSuite(factory)
  deadLettersSuite(factory)
  redriveSuite(factory)
  quotasSuite(factory)
  leasesSuite(factory)
  busSuite(factory)
}
