import type { Signal } from '../core/bus.ts'
import type { Namespace } from './namespace.ts'
import { WiredBroadcast } from './wired-broadcast.ts'

/** What a signal of the bus means to a namespace on this hub. Any may be lost: what counts is found in the store as well. */
export function onSignal(namespace: Namespace, signal: Signal): void {
  switch (signal.kind) {
    case 'entry':
      namespace
        .session(signal.agentId)
        ?.delivery.offer(signal.lane, signal.number, signal.text, signal.expiresAt)
      break
    case 'broadcast': {
      const wired = signal.entry && new WiredBroadcast(signal.entry)
      for (const session of namespace.sessions) session.delivery.offerBroadcast(signal.number, wired)
      break
    }
    case 'event':
      namespace.onEvents([signal.event])
      break
    case 'displaced': {
      const session = namespace.session(signal.agentId)
      if (session?.sender.fence === signal.fence) session.connection.displace()
      break
    }
    case 'queued':
      namespace.work.onQueued(signal.capabilities)
      break
    case 'revoked':
      namespace.session(signal.agentId)?.worker.revoke(signal.id, signal.claim, signal.reason)
      break
    case 'dead':
      namespace.metrics.deadLettered(signal.reason)
      namespace.watchers.onDead(signal)
      break
    case 'transient':
      namespace.pushTransient(signal.agentIds, signal.text)
      break
    case 'probe':
      namespace.probes.onProbe(signal)
      break
    case 'probed':
      namespace.probes.onProbed(signal.probe)
      break
    case 'streams':
      namespace.streams.onSignal(signal)
      break
    case 'heartbeats_wanted':
      namespace.onHeartbeatsWanted()
      break
    case 'heartbeat':
      if (signal.from !== namespace.hub) namespace.onBeatElsewhere(signal.agentId, signal.metrics, signal.at)
      break
  }
}
