import type { Send, SendOutcome, Sends } from '../core/sends.ts'

/** Sends and bytes in one call. */
const BATCH_MAX = 1_000
const BATCH_BYTES = 1_048_576
/** Calls under way at once: one is worked on while the next is on its way. */
const CALLS_MAX = 2
/** Bytes waiting beyond which nothing more is read from those who send. */
const WAITING_BYTES = 16 * 1_048_576

/** A send on its way into the store, with what to do with the answer. */
export interface Commit extends Send {
  /** The store's answer; `moved` and `postponed` are not told. */
  onOutcome(outcome: SendOutcome): void
  /** The call failed: the store does not answer. */
  onFailure(error: unknown): void
  /** The name or the leader is another agent now: `to` has to follow. */
  retarget(agentId: string): void
}

/** Whether the store may answer `moved`: then what the sender sends next must wait, or it would overtake. */
const isGuess = ({ to }: Send): boolean =>
  to.kind === 'leader' || to.kind === 'members' || (to.kind === 'agent' && to.name !== null)

/**
 * Group commit of one namespace: all that arrived in a turn of the event loop goes to the store by one call. The next call
 * waits while two are under way, and grows meanwhile.
 */
export class GroupCommit {
  readonly #namespace: string
  readonly #sends: Sends
  readonly #onPressure: (high: boolean) => void
  readonly #onAnswered: () => void
  #waiting: Commit[] = []
  /** Where in `#waiting` the first one is that still waits. */
  #first = 0
  #bytes = 0
  #calls = 0
  #scheduled = false
  #high = false
  /** Senders with a guess under way: how many. */
  readonly #guessing = new Map<Send['sender'], number>()

  /**
   * @param onPressure told when too much waits, and when that is over
   * @param onAnswered called when all answers of a call have been given
   */
  constructor(namespace: string, sends: Sends, onPressure: (high: boolean) => void, onAnswered: () => void) {
    this.#namespace = namespace
    this.#sends = sends
    this.#onPressure = onPressure
    this.#onAnswered = onAnswered
  }

  add(commit: Commit): void {
    this.#waiting.push(commit)
    this.#bytes += commit.text.length
    if (!this.#high && this.#bytes > WAITING_BYTES) {
      this.#high = true
      this.#onPressure(true)
    }
    // A full batch need not wait for the end of the turn, which may be long.
    if (this.#calls < CALLS_MAX && this.#waiting.length - this.#first >= BATCH_MAX) this.#start()
    else this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#calls >= CALLS_MAX || this.#first === this.#waiting.length) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#start()
    })
  }

  #start(): void {
    while (this.#calls < CALLS_MAX) {
      const batch = this.#takeBatch()
      if (batch.length === 0) break
      this.#run(batch)
    }
    if (this.#high && this.#bytes < WAITING_BYTES / 2) {
      this.#high = false
      this.#onPressure(false)
    }
  }

  #takeBatch(): Commit[] {
    const batch: Commit[] = []
    let bytes = 0
    let at = this.#first
    const kept: Commit[] = []
    for (; at < this.#waiting.length && batch.length < BATCH_MAX && bytes < BATCH_BYTES; at++) {
      const commit = this.#waiting[at]
      if (!commit) continue
      if (this.#guessing.size > 0 && this.#guessing.has(commit.sender)) {
        kept.push(commit)
        continue
      }
      batch.push(commit)
      bytes += commit.text.length
    }
    this.#bytes -= bytes
    this.#first = at
    // Taken out in one go from time to time: moving what still waits at every batch would cost more than the batch.
    if (at === this.#waiting.length || at >= 16 * BATCH_MAX || kept.length > 0) {
      this.#waiting = [...kept, ...this.#waiting.slice(at)]
      this.#first = 0
    }
    return batch
  }

  #run(batch: readonly Commit[]): void {
    this.#calls++
    const guesses: Send['sender'][] = []
    for (const send of batch) {
      if (!isGuess(send)) continue
      guesses.push(send.sender)
      this.#guessing.set(send.sender, (this.#guessing.get(send.sender) ?? 0) + 1)
    }
    this.#sends.store(this.#namespace, batch).then(
      (outcomes) => this.#answered(batch, guesses, outcomes),
      (error: unknown) => {
        this.#endCall(guesses)
        for (const commit of batch) commit.onFailure(error)
        this.#onAnswered()
        this.#schedule()
      },
    )
  }

  #answered(
    batch: readonly Commit[],
    guesses: readonly Send['sender'][],
    outcomes: readonly SendOutcome[],
  ): void {
    this.#endCall(guesses)
    const again: Commit[] = []
    for (let i = 0; i < batch.length; i++) {
      const commit = batch[i]
      const outcome = outcomes[i]
      if (!commit || !outcome) continue
      if (outcome.outcome === 'moved') {
        commit.retarget(outcome.agentId)
        again.push(commit)
      } else if (outcome.outcome === 'postponed') {
        again.push(commit)
      } else {
        commit.onOutcome(outcome)
      }
    }
    if (again.length > 0) {
      // Before all that these senders sent later.
      this.#waiting = [...again, ...this.#waiting.slice(this.#first)]
      this.#first = 0
      for (const { text } of again) this.#bytes += text.length
    }
    // With more on its way, the answers go out together with that at the end of the turn.
    if (this.#first === this.#waiting.length) this.#onAnswered()
    this.#schedule()
  }

  #endCall(guesses: readonly Send['sender'][]): void {
    this.#calls--
    for (const sender of guesses) {
      const left = (this.#guessing.get(sender) ?? 1) - 1
      if (left === 0) this.#guessing.delete(sender)
      else this.#guessing.set(sender, left)
    }
  }
}
