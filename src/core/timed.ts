import type { Core } from './core.ts'

/** What is told of each call: which operation (`inboxes.read`), how long it took, and whether it failed. */
export type OnCall = (operation: string, ms: number, failed: boolean) => void

/** One port, each of its operations timed. What it answers is the very promise of the port, so nothing comes a moment later. */
function timedPort<Port extends object>(port: Port, name: string, onCall: OnCall): Port {
  const operations = new Map<PropertyKey, (...args: unknown[]) => unknown>()
  return new Proxy(port, {
    get(target, member) {
      const known = operations.get(member)
      if (known) return known
      const value: unknown = Reflect.get(target, member, target)
      if (typeof value !== 'function') return value
      const operation = `${name}.${String(member)}`
      const timed = (...args: unknown[]): unknown => {
        const startedAt = performance.now()
        const answer: unknown = Reflect.apply(value, target, args)
        if (answer instanceof Promise)
          answer.then(
            () => onCall(operation, performance.now() - startedAt, false),
            () => onCall(operation, performance.now() - startedAt, true),
          )
        return answer
      }
      operations.set(member, timed)
      return timed
    },
  })
}

/** The core, with every operation of its ports timed; signals are not. */
export function timed(core: Core, onCall: OnCall): Core {
  return {
    kind: core.kind,
    registry: timedPort(core.registry, 'registry', onCall),
    sends: timedPort(core.sends, 'sends', onCall),
    inboxes: timedPort(core.inboxes, 'inboxes', onCall),
    broadcasts: timedPort(core.broadcasts, 'broadcasts', onCall),
    queues: timedPort(core.queues, 'queues', onCall),
    deadLetters: timedPort(core.deadLetters, 'dead_letters', onCall),
    leases: timedPort(core.leases, 'leases', onCall),
    bus: core.bus,
    problems: () => core.problems(),
    close: () => core.close(),
  }
}
