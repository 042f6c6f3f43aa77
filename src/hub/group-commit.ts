import type { Send, SendOutcome, Sends } from '../core/sends.ts'

/** Sends and bytes in one call. */
const BATCH_MAX = 1_000
const BATCH_BYTES = 1_048_576
/** Calls under way at once: one is worked on while the next is on its way. */
const CALLS_MAX = 2
/** Bytes waiting beyond which nothing more is read from those who send. */
const WAITING_BYTES = 16 * 1_048_576

/** A send on its way into the store, with what to do with the answer. */
export interface Commit {
  readonly send: Send
  /** The store's answer; a `moved` one is not told but tried again by `retarget`. */
  onOutcome(outcome: SendOutcome): void
  /** The call failed: the store does not answer. */
  onFailure(error: unknown): void
  /** The same send to where its name or leader is now. */
  retarget(agentId: string): Send
}

interface Waiting {
  commit: Commit
  send: Send
}

/** Whether the store may answer `moved`: then what the sender sends next must wait, or it would overtake. */
const isGuess = ({ to }: Send): boolean => to.kind === 'leader' || (to.kind === 'agent' && to.name !== null)

/**
 * Group commit of one namespace: all that arrived in a turn of the event loop goes to the store by one call. The next call
 * waits while two are under way, and grows meanwhile.
 */
export class GroupCommit {
  readonly #namespace: string
  readonly #sends: Sends
  readonly #onPressure: (high: boolean) => void
  #waiting: Waiting[] = []
  #bytes = 0
  #calls = 0
  #scheduled = false
  #high = false
  /** Senders with a guess under way: how many. */
  readonly #guessing = new Map<Send['sender'], number>()

  /** @param onPressure told when too much waits, and when that is over */
  constructor(namespace: string, sends: Sends, onPressure: (high: boolean) => void) {
    this.#namespace = namespace
    this.#sends = sends
    this.#onPressure = onPressure
  }

  add(commit: Commit): void {
    this.#waiting.push({ commit, send: commit.send })
    this.#bytes += commit.send.text.length
    if (!this.#high && this.#bytes > WAITING_BYTES) {
      this.#high = true
      this.#onPressure(true)
    }
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#calls >= CALLS_MAX || this.#waiting.length === 0) return
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

  #takeBatch(): Waiting[] {
    const batch: Waiting[] = []
    let bytes = 0
    let taken = 0
    let kept: Waiting[] | null = null
    for (const one of this.#waiting) {
      if (batch.length === BATCH_MAX || bytes > BATCH_BYTES) break
      taken++
      if (this.#guessing.size > 0 && this.#guessing.has(one.send.sender)) {
        kept ??= []
        kept.push(one)
        continue
      }
      batch.push(one)
      bytes += one.send.text.length
    }
    if (taken === this.#waiting.length && !kept) this.#waiting = []
    else this.#waiting = [...(kept ?? []), ...this.#waiting.slice(taken)]
    this.#bytes -= bytes
    return batch
  }

  #run(batch: Waiting[]): void {
    this.#calls++
    for (const { send } of batch) if (isGuess(send)) this.#guessing.set(send.sender, (this.#guessing.get(send.sender) ?? 0) + 1)
    this.#sends.store(this.#namespace, batch.map(({ send }) => send)).then(
      (outcomes) => this.#answered(batch, outcomes),
      (error: unknown) => {
        this.#endCall(batch)
        for (const { commit } of batch) commit.onFailure(error)
        this.#schedule()
      },
    )
  }

  #answered(batch: readonly Waiting[], outcomes: readonly SendOutcome[]): void {
    this.#endCall(batch)
    const again: Waiting[] = []
    for (let i = 0; i < batch.length; i++) {
      const one = batch[i]
      const outcome = outcomes[i]
      if (!one || !outcome) continue
      if (outcome.outcome === 'moved') {
        again.push({ commit: one.commit, send: one.commit.retarget(outcome.agentId) })
      } else if (outcome.outcome === 'postponed') {
        again.push(one)
      } else {
        one.commit.onOutcome(outcome)
      }
    }
    if (again.length > 0) {
      // Before all that these senders sent later.
      this.#waiting = [...again, ...this.#waiting]
      for (const { send } of again) this.#bytes += send.text.length
    }
    this.#schedule()
  }

  #endCall(batch: readonly Waiting[]): void {
    this.#calls--
    for (const { send } of batch) {
      if (!isGuess(send)) continue
      const left = (this.#guessing.get(send.sender) ?? 1) - 1
      if (left === 0) this.#guessing.delete(send.sender)
      else this.#guessing.set(send.sender, left)
    }
  }
}
