import type { Core } from '../../src/core/core.ts'

type Defect = (core: Core) => Core

/** One of its operations replaced; the others are those of the core. */
function replace<Name extends 'sends' | 'queues' | 'inboxes'>(
  core: Core,
  name: Name,
  replaced: Partial<Core[Name]>,
): Core {
  const port = core[name]
  const patched = new Proxy(port, {
    get: (target, key) => {
      const own = Reflect.get(replaced, key) as unknown
      const value = own ?? (Reflect.get(target, key) as unknown)
      return typeof value === 'function' ? (value as () => unknown).bind(own ? replaced : target) : value
    },
  })
  return { ...core, [name]: patched }
}

/** Cores that break a promise now and then: what the checks must notice. */
export const defects: Readonly<Record<string, Defect>> = {
  /** Forgets a stored message. */
  loses: (core) =>
    replace(core, 'sends', {
      store: async (namespace, batch) => {
        const outcomes = await core.sends.store(namespace, batch)
        for (const outcome of outcomes) {
          if (outcome.outcome !== 'stored' || outcome.number % 20 !== 0) continue
          const { agentId, number } = outcome
          await core.inboxes.settle(namespace, [{ agentId, lane: 'inbox', numbers: [number] }])
        }
        return outcomes
      },
    }),
  /** Gives more work than an agent takes. */
  crowds: (core) =>
    replace(core, 'queues', {
      claim: (namespace, capability, claimants) =>
        core.queues.claim(
          namespace,
          capability,
          claimants.map((one) => ({ ...one, room: one.room + 1, concurrency: one.concurrency + 1 })),
        ),
    }),
  /** Settles nothing of a queue. */
  forgets: (core) => replace(core, 'queues', { settle: async () => undefined }),
}
