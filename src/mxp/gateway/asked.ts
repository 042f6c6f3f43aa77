import type { Ref } from '../../../protocol/commands.ts'
import type { Frame } from '../../hub/dialect.ts'
import type { MxpMessage } from '../message.ts'

/** How the hub's answer to a command is told. */
export interface Answering {
  /** The messages that tell its result. */
  readonly onOk: (result: unknown) => Buffer[]
  /** Before its Error is sent, if it is. */
  readonly onError?: () => void
  /** Its Error is not sent: there is nothing that the agent could do. */
  readonly isSilent?: boolean
  /** What was wrong with the message: the hub was asked nothing that it could do, and its answer does not count. */
  readonly refusal?: unknown
}

export interface Question extends Answering {
  readonly message: MxpMessage
}

/** What was asked of the hub for messages that have no answer yet. */
export class Asked {
  readonly #questions = new Map<Ref, Question>()
  #refs = 0

  /** The command with a `ref` by which its answer is found. */
  add(message: MxpMessage, type: string, fields: Frame, answering: Answering): Frame {
    const ref = `m${++this.#refs}`
    this.#questions.set(ref, { message, ...answering })
    return { ...fields, type, ref }
  }

  take(ref: Ref | undefined): Question | undefined {
    if (ref === undefined) return undefined
    const question = this.#questions.get(ref)
    this.#questions.delete(ref)
    return question
  }
}
