import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Entry, Lane } from '../../src/core/inboxes.ts'
import {
  frame,
  join,
  NEVER_MS,
  registerRequest,
  registration,
  sendOf,
  toAgent,
  toAll,
  type CoreFactory,
  type Joined,
} from '../support/core.ts'
import { checkRuns, same } from '../support/properties.ts'

const BYTES_MAX = 2_000
const AGENTS = ['bob', 'carol'] as const
/** They live by heartbeats. */
const MEMBERS = ['hal', 'hob'] as const
const INBOX_MAX = 4

const agent = fc.constantFrom(...AGENTS)
const member = fc.constantFrom(...MEMBERS)
const lane = fc.constantFrom<Lane>('inbox', 'inbox', 'inbox', 'replies')
const places = fc.array(fc.nat(8), { minLength: 1, maxLength: 6 })
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      agent: fc.constantFrom(...AGENTS, ...MEMBERS),
      lane,
      // Beyond ASCII bytes and characters are not the same.
      payloads: fc.array(fc.string({ unit: 'grapheme', maxLength: 120 }), { minLength: 1, maxLength: 6 }),
      receipt: fc.boolean(),
      mortal: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('settle' as const), agent, lane, places }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('settleAll' as const), agent, lane }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('reject' as const),
      agent,
      lane,
      places,
      requeue: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('expire' as const), agent, lane, places }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('acknowledge' as const), member, places }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('deregister' as const), member }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('connect' as const), member }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unregister' as const), agent }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('broadcast' as const), agent }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('redrive' as const), places }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

const isMember = (agentId: string | null): boolean => MEMBERS.some((id) => id === agentId)

/** One namespace under a limit, and what is in its inboxes, looked up. */
class Quota {
  readonly #core: Core
  readonly #namespace: string
  readonly #joined = new Map<string, Joined>()
  #sent = 0

  constructor(core: Core, namespace: string) {
    this.#core = core
    this.#namespace = namespace
  }

  async join(agentId: string): Promise<Joined> {
    const known = this.#joined.get(agentId)
    if (known) return known
    const joined = await join(this.#core, agentId, { namespace: this.#namespace })
    this.#joined.set(agentId, joined)
    return joined
  }

  /** Whoever is sent to has to be there. */
  async #meet(agentId: string): Promise<void> {
    if (isMember(agentId)) await this.#enrol(agentId)
    else await this.join(agentId)
  }

  async #enrol(agentId: string): Promise<void> {
    const { registry } = this.#core
    const given = registration(agentId, { transport: 'http' })
    const request = { agentId, registration: given, door: 'http', staleMs: NEVER_MS } as const
    same((await registry.enrol(this.#namespace, request)).outcome, 'registered')
  }

  async entries(agentId: string, of: Lane): Promise<readonly Entry[]> {
    return (await this.#core.inboxes.read(this.#namespace, agentId, of, 0, 1_000)).entries
  }

  async bytes(): Promise<number> {
    let sum = 0
    for (const id of ['alice', ...AGENTS, ...MEMBERS])
      for (const { text } of await this.entries(id, 'inbox')) sum += Buffer.byteLength(text)
    return sum
  }

  /** What is in these places of a lane, and beside them what never was or is not any more. */
  async #numbers(agentId: string, of: Lane, wanted: readonly number[]): Promise<number[]> {
    const entries = await this.entries(agentId, of)
    return wanted.map((place) => entries[place]?.number ?? place + 1)
  }

  async act(action: Step): Promise<void> {
    const core = this.#core
    const namespace = this.#namespace
    const { sender } = await this.join('alice')
    switch (action.kind) {
      case 'send': {
        await this.#meet(action.agent)
        const { lane: of, receipt } = action
        // Where the oldest makes room, how much that is shows after each.
        const payloads = isMember(action.agent) ? action.payloads.slice(0, 1) : action.payloads
        const texts = payloads.map((payload) => frame(`m${(this.#sent += 1)}`, payload))
        let held = await this.bytes()
        const expected = texts.map((text) => {
          const size = Buffer.byteLength(text)
          if (of === 'inbox' && held + size > BYTES_MAX) return 'quota_exceeded'
          if (of === 'inbox') held += size
          return 'stored'
        })
        const expiresAt = action.mortal ? Date.now() + 3_600_000 : null
        const sends = texts.map((text) =>
          sendOf(sender, toAgent(action.agent, of), '', { text, receipt, expiresAt }),
        )
        const outcomes = await core.sends.store(namespace, sends)
        same(
          outcomes.map((outcome) => (outcome.outcome === 'refused' ? outcome.code : outcome.outcome)),
          expected,
        )
        break
      }
      case 'settle': {
        const numbers = await this.#numbers(action.agent, action.lane, action.places)
        await core.inboxes.settle(namespace, [{ agentId: action.agent, lane: action.lane, numbers }])
        break
      }
      case 'settleAll': {
        const numbers = (await this.entries(action.agent, action.lane)).map(({ number }) => number)
        await core.inboxes.settle(namespace, [{ agentId: action.agent, lane: action.lane, numbers }])
        break
      }
      case 'reject':
        for (const number of await this.#numbers(action.agent, action.lane, action.places)) {
          const { requeue } = action
          const rejection = { agentId: action.agent, number, requeue, delayMs: 0, reason: null }
          await core.inboxes.reject(namespace, action.lane, rejection)
        }
        break
      case 'expire': {
        const numbers = await this.#numbers(action.agent, action.lane, action.places)
        await core.inboxes.expire(namespace, { agentId: action.agent, lane: action.lane, numbers })
        break
      }
      case 'acknowledge': {
        const asked = { agentId: action.member, door: 'http' } as const
        const texts = await core.inboxes.peek(namespace, asked, 1_000_000)
        const ids = action.places.map((place) => {
          const text = texts[place]
          return text === undefined ? 'none' : (JSON.parse(text) as { id: string }).id
        })
        await core.inboxes.acknowledge(namespace, asked, ids)
        break
      }
      case 'deregister': {
        const leaving = { agentId: action.member, door: 'http', departure: 'unregister' } as const
        await core.registry.leave(namespace, { ...leaving, fence: null, graceMs: 0, marks: null })
        break
      }
      case 'connect': {
        const request = registerRequest(action.member, { proved: true })
        const result = await core.registry.register(namespace, request)
        if (result.outcome !== 'registered') throw new Error(`not registered: ${result.outcome}`)
        const { fence } = result
        await core.registry.leave(namespace, {
          agentId: action.member,
          fence,
          departure: 'unregister',
          graceMs: 0,
          marks: null,
        })
        break
      }
      case 'unregister': {
        const { fence } = await this.join(action.agent)
        const leaving = {
          agentId: action.agent,
          fence,
          departure: 'unregister',
          graceMs: 0,
          marks: null,
        } as const
        await core.registry.leave(namespace, leaving)
        this.#joined.delete(action.agent)
        break
      }
      case 'broadcast': {
        await this.join(action.agent)
        const text = frame(`b${(this.#sent += 1)}`, 'to all')
        const send = sendOf(sender, toAll(), '', { text })
        let [outcome] = await core.sends.store(namespace, [send])
        // Who gets copies had to be found out first.
        if (outcome?.outcome === 'moved') [outcome] = await core.sends.store(namespace, [send])
        if (outcome?.outcome !== 'broadcast') throw new Error(`not stored: ${outcome?.outcome}`)
        const { number } = outcome
        const rejection = { agentId: action.agent, number, requeue: true, delayMs: 0, reason: null }
        await core.broadcasts.reject(namespace, rejection)
        break
      }
      case 'redrive': {
        const letters = await core.deadLetters.list(namespace, null, 100)
        const found = action.places.flatMap((place) => letters[place] ?? [])
        const chosen = found.some(({ agentId }) => isMember(agentId)) ? found.slice(0, 1) : found
        let held = await this.bytes()
        const outcomes = await core.deadLetters.redrive(
          namespace,
          chosen.map(({ position, text }) => ({ position, text, expiresAt: null })),
        )
        for (const [index, { text }] of chosen.entries()) {
          const fits = held + Buffer.byteLength(text) <= BYTES_MAX
          if (outcomes[index] === 'redriven') {
            same(fits, true)
            held += Buffer.byteLength(text)
          }
          if (outcomes[index] === 'quota_exceeded') same(fits, false)
        }
        break
      }
    }
  }

  /** What is left of the limit, to the byte. */
  async check(): Promise<void> {
    const { sender } = await this.join('alice')
    const left = BYTES_MAX - (await this.bytes())
    const store = async (size: number): Promise<string | undefined> => {
      const text = 'x'.repeat(size)
      const [outcome] = await this.#core.sends.store(this.#namespace, [
        sendOf(sender, toAgent('alice'), '', { text }),
      ])
      return outcome?.outcome
    }
    // Broadcasts that were rejected are counted and never refused, so there may be less than nothing.
    same(await store(Math.max(1, left + 1)), 'refused')
    if (left <= 0) return
    same(await store(left), 'stored')
    const [entry] = await this.entries('alice', 'inbox')
    const numbers = [entry?.number ?? 0]
    await this.#core.inboxes.settle(this.#namespace, [{ agentId: 'alice', lane: 'inbox', numbers }])
  }
}

/** The bytes counted of a namespace's inboxes, against those that are in them. */
export function quotasProperties({ openCore }: CoreFactory, numRuns: number): void {
  test('the bytes counted in the inboxes of a namespace are those that are in them, whatever happens', async () => {
    expect.hasAssertions()
    const core = await openCore({
      namespaceInboxBytesMax: BYTES_MAX,
      maxAttempts: 2,
      httpInboxMax: INBOX_MAX,
    })
    await checkRuns(step, numRuns, async (namespace, steps) => {
      const quota = new Quota(core, namespace)
      for (const [index, action] of steps.entries()) {
        await quota.act(action)
        // What is over a bound goes a little later in one store than in the other.
        if (index % 3 === 2) await core.inboxes.expireAbsent(namespace, 100)
        if (index % 5 === 4) await quota.check()
      }
      await quota.check()
    })
  })
}
