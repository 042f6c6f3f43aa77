import type { LeaderInfo } from '../../protocol/replies.ts'
import type { Dice } from './dice.ts'
import { GROUP, type Participant, type Shot, WORK } from './participant.ts'

/** Beyond, a participant is not told to send more: it waits for a hub. */
const UNANSWERED_MAX = 300

/** What an agent might send next, so that all of the promises are at stake. */
export class Load {
  readonly #participants: readonly Participant[]
  readonly #dice: Dice
  readonly #leader: () => LeaderInfo
  /** Leaders that were, with their terms. */
  readonly #former: LeaderInfo[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(participants: readonly Participant[], dice: Dice, leader: () => LeaderInfo) {
    this.#participants = participants
    this.#dice = dice
    this.#leader = leader
  }

  /** @param everyMs how often somebody sends a burst of up to five */
  start(everyMs: number): void {
    this.#timer = setInterval(() => this.#burst(), everyMs)
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  #burst(): void {
    const leader = this.#leader()
    const last = this.#former.at(-1)
    if (leader.agentId !== null && last?.term !== leader.term) this.#former.push(leader)
    const from = this.#dice.pick(this.#participants)
    if (this.#dice.chance(0.05)) from.update()
    if (this.#dice.chance(0.08)) this.#lead(leader)
    if (from.unanswered > UNANSWERED_MAX) return
    const shot = this.#shot(from.agent)
    const count = this.#dice.between(1, 5)
    for (let i = 0; i < count; i++) from.send(shot)
  }

  #others(agent: string): string[] {
    return this.#participants.map((one) => one.agent).filter((one) => one !== agent)
  }

  #shot(from: string): Shot {
    const dice = this.#dice
    const plain = { receipt: dice.chance(0.3), asLeader: null }
    const kind = dice.next()
    if (kind < 0.45) {
      const agent = dice.pick(this.#others(from))
      return { ...plain, to: { agent }, lane: dice.chance(0.25) ? 'replies' : 'inbox', owed: [agent] }
    }
    if (kind < 0.55) {
      const name = dice.pick(this.#others(from))
      return { ...plain, to: { name }, lane: 'inbox', owed: [name] }
    }
    if (kind < 0.85)
      return { ...plain, receipt: dice.chance(0.8), to: { capability: WORK }, lane: 'queue', owed: null }
    if (kind < 0.93) return { ...plain, to: { leader: true }, lane: 'inbox', owed: null }
    const to = dice.pick([{ all: true }, { group: GROUP }, { capability: WORK, mode: 'all' }] as const)
    return { to, lane: 'broadcast', owed: this.#others(from), receipt: false, asLeader: null }
  }

  /** Who leads, who only thinks so, or who did lead, sends as the leader. */
  #lead(leader: LeaderInfo): void {
    const dice = this.#dice
    const stale = dice.chance(0.3) && this.#former.length > 0 ? dice.pick(this.#former) : leader
    const agent = dice.chance(0.7) ? stale.agentId : dice.pick(this.#participants).agent
    const from = this.#participants.find((one) => one.agent === agent)
    if (!from || from.unanswered > UNANSWERED_MAX) return
    const owed = this.#others(from.agent)
    from.send({ to: { all: true }, lane: 'broadcast', owed, receipt: false, asLeader: stale.term })
  }
}
