import type { Message } from '../../protocol/pushes.ts'

/** How long `next` waits where a test says nothing else. */
const WAIT_MS = 2000
/** Messages that a failure shows. */
const SHOWN_MAX = 20

export interface NextOptions {
  /** Milliseconds until it rejects. Default 2,000. */
  readonly timeoutMs?: number
}

interface Waiter {
  readonly type: string | null
  readonly resolve: (message: Message) => void
}

const brief = ({ messageType, payload }: Message): string => {
  const text = `${messageType} ${JSON.stringify(payload)}`
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}

/** What a fake agent got: a list, and a way to await what comes next. */
export class Received {
  /** All of it, oldest first. */
  readonly messages: Message[] = []
  readonly #name: string
  #unasked: Message[] = []
  #waiters: Waiter[] = []

  constructor(name: string) {
    this.#name = name
  }

  add(message: Message): void {
    this.messages.push(message)
    const waiter = this.#waiters.find(({ type }) => type === null || type === message.messageType)
    if (waiter === undefined) {
      this.#unasked.push(message)
      return
    }
    this.#drop(waiter)
    waiter.resolve(message)
  }

  /** The oldest message (of a type) that nobody has asked for yet, now or when it comes. @throws Error that tells what came instead */
  next(type: string | null, { timeoutMs = WAIT_MS }: NextOptions): Promise<Message> {
    const index = this.#unasked.findIndex(({ messageType }) => type === null || messageType === type)
    const [message] = index === -1 ? [] : this.#unasked.splice(index, 1)
    if (message !== undefined) return Promise.resolve(message)
    // The stack of who waits says more than that of a timer.
    const failure = new Error()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#drop(waiter)
        const came = this.#unasked.slice(-SHOWN_MAX).map(brief).join(', ') || 'nothing'
        const what = type === null ? 'message' : `"${type}"`
        failure.message = `fake agent ${this.#name} got no ${what} in ${timeoutMs} ms; what came and was not asked for: ${came}`
        reject(failure)
      }, timeoutMs)
      const waiter: Waiter = {
        type,
        resolve: (found) => {
          clearTimeout(timer)
          resolve(found)
        },
      }
      this.#waiters.push(waiter)
    })
  }

  #drop(waiter: Waiter): void {
    this.#waiters = this.#waiters.filter((one) => one !== waiter)
  }
}
