import type { AgentFields } from '../../protocol/agent.ts'
import type { RawFrame } from '../../protocol/codec.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { MessageType, Target } from '../../protocol/message.ts'
import type { Message } from '../../protocol/pushes.ts'
import type { SendResult, Welcome } from '../../protocol/replies.ts'
import { Line, LineBroken } from './line.ts'
import { type NextOptions, Received } from './received.ts'
import { type FailOptions, Script, type ScriptOptions, type Step } from './script.ts'
import { isStreamed, StreamedReplies } from './streamed-replies.ts'

/** Fields of the agent, as in `hello`; those left out are made up. */
export interface FakeAgentOptions extends Omit<AgentFields, 'name' | 'id' | 'capabilities'> {
  /** Default `fake-1`, `fake-2` … */
  readonly name?: string
  /** Default: the name. */
  readonly id?: string
  /** Default `['test']`. */
  readonly capabilities?: readonly string[]
  /** Default `default`. */
  readonly namespace?: string
}

export interface FakeSendOptions {
  /** Default `notification`. */
  readonly type?: MessageType
  readonly correlationId?: string
  /** Milliseconds, by default without end. */
  readonly ttlMs?: number
}

const isFunction = (answer: unknown): answer is (message: Message) => unknown => typeof answer === 'function'

/**
 * An agent on the mesh that does what a test tells it: records what it gets and acknowledges it, unless a script for that type
 * says otherwise. It speaks the protocol without the bundled client, and asserts nothing itself.
 */
export class FakeAgent {
  readonly id: string
  readonly name: string
  readonly #line: Line
  readonly #received: Received
  readonly #script = new Script()
  readonly #streams: StreamedReplies
  /** Ids that were acknowledged: pushed again, they are only acknowledged again. */
  readonly #processed = new Set<string>()

  /** For `hub.fakeAgent`. @throws MeshError where the hub refuses it */
  static async join(url: string, options: FakeAgentOptions & { readonly name: string }): Promise<FakeAgent> {
    const agent = new FakeAgent(url, options)
    await agent.comeBack()
    return agent
  }

  private constructor(url: string, options: FakeAgentOptions & { readonly name: string }) {
    const { namespace = 'default', name, id = name, capabilities = ['test'], ...fields } = options
    this.id = id
    this.name = name
    this.#received = new Received(name)
    this.#line = new Line({
      url,
      namespace,
      agent: { ...fields, id, name, capabilities },
      onFrame: (frame) => this.#onFrame(frame),
      onBroken: () => this.#streams.onBroken(),
    })
    this.#streams = new StreamedReplies(this.#line)
  }

  /** Every message it got, oldest first; one that came again because it was not acknowledged is there again. */
  get received(): readonly Message[] {
    return this.#received.messages
  }

  /** What the hub said to its latest `hello`. */
  get welcome(): Welcome {
    return this.#line.welcome
  }

  /**
   * The oldest message, or the oldest of a type, that this was not asked for yet: now or when it comes.
   * @throws Error after `timeoutMs`, which tells what came instead
   */
  next<Payload = unknown>(type?: MessageType, options: NextOptions = {}): Promise<Message<Payload>> {
    return this.#received.next(type ?? null, options) as Promise<Message<Payload>>
  }

  /**
   * Answers messages of a type (`*`: all others) with a value, or with what a function makes of them, and acknowledges them.
   * What an async generator yields is streamed. `undefined` is no answer; a function that throws gives its message back.
   */
  reply<Payload = unknown>(
    type: MessageType,
    answer: (message: Message<Payload>) => unknown,
    options?: ScriptOptions,
  ): this
  reply(type: MessageType, answer: unknown, options?: ScriptOptions): this
  reply(type: MessageType, answer: unknown, options: ScriptOptions = {}): this {
    return this.#do(type, { do: 'reply', answer }, options)
  }

  /** Gives messages of a type (`*`: all others) back, for a reason. */
  fail(type: MessageType, error: Error | string, options: FailOptions = {}): this {
    const { requeue = true, delayMs = 0, ...rest } = options
    const reason = typeof error === 'string' ? error : error.message
    return this.#do(type, { do: 'fail', reason, requeue, delayMs }, rest)
  }

  /** Takes messages of a type (`*`: all others) and does nothing more, like one that hangs: no answer, no acknowledgement. */
  silent(type: MessageType, options: ScriptOptions = {}): this {
    return this.#do(type, { do: 'silent' }, options)
  }

  /** Sends a message; resolves when it is stored. @throws MeshError as the hub says; Error where it is not connected */
  send(to: Target | string, payload: unknown, options: FakeSendOptions = {}): Promise<SendResult> {
    const { type: messageType = 'notification', ...rest } = options
    return this.command({
      type: 'send',
      to: typeof to === 'string' ? { agent: to } : to,
      messageType,
      payload,
      ...rest,
    })
  }

  /** Any command of PROTOCOL.md, without its `ref`; its result. @throws as `send` */
  command<Result = unknown>(frame: {
    readonly type: string
    readonly [field: string]: unknown
  }): Promise<Result> {
    return this.#line.command(frame)
  }

  /** Gone without a word, like a process that was killed; until `comeBack` it stays away. */
  crash(): Promise<void> {
    return this.#line.drop()
  }

  /** Connects again as the same agent. @throws MeshError where the hub refuses it */
  comeBack(): Promise<void> {
    return this.#line.open()
  }

  /** Says `bye`, which unregisters it, and is gone. */
  async close(): Promise<void> {
    await this.command({ type: 'bye' }).catch(() => undefined)
    await this.crash()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #do(type: MessageType, step: Step, options: ScriptOptions): this {
    this.#script.add(type, step, options)
    return this
  }

  #onFrame(frame: RawFrame): void {
    if (frame.type === 'message') this.#onMessage(frame as unknown as Message)
    else if (frame.type === 'receipt') this.#line.push({ type: 'ack', ids: [frame['receiptId']] })
    else if (frame.type.startsWith('stream.')) this.#streams.onFrame(frame)
  }

  #onMessage(message: Message): void {
    if (this.#processed.has(message.id)) {
      this.#acknowledge(message)
      return
    }
    this.#received.add(message)
    const step = this.#script.next(message.messageType)
    switch (step.do) {
      case 'take':
        this.#acknowledge(message)
        break
      case 'reply':
        void this.#reply(message, step.answer)
        break
      case 'fail':
        this.#giveBack(message, step)
        break
      case 'silent':
        break
    }
  }

  async #reply(message: Message, answer: unknown): Promise<void> {
    try {
      const payload: unknown = await (isFunction(answer) ? answer(message) : answer)
      if (isStreamed(payload)) await this.#streams.send(message, payload)
      else await this.#respond(message, payload)
      this.#acknowledge(message)
    } catch (error) {
      // The hub pushes it again on the next connection.
      if (error instanceof LineBroken) return
      // Whoever asked is gone: nobody is left to answer.
      if (error instanceof MeshError && error.code === 'unknown_target') this.#acknowledge(message)
      else this.#giveBack(message, { reason: (error as Error).message, requeue: true, delayMs: 0 })
    }
  }

  async #respond({ from, id, correlationId = id }: Message, payload: unknown): Promise<void> {
    if (payload !== undefined) await this.send(from, payload, { type: 'response', correlationId })
  }

  #acknowledge({ id }: Message): void {
    this.#processed.add(id)
    this.#line.push({ type: 'ack', ids: [id] })
  }

  #giveBack({ id }: Message, { reason, requeue, delayMs }: Omit<Step & { do: 'fail' }, 'do'>): void {
    this.#line.push({ type: 'nack', id, requeue, delayMs, reason: reason.slice(0, 256) })
  }
}
