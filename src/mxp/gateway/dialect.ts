import { type AgentFields, type Registration, show } from '../../../protocol/agent.ts'
import type { CloseReason } from '../../../protocol/close-codes.ts'
import { decode as decodeFrames } from '../../../protocol/codec.ts'
import { MeshError } from '../../../protocol/errors.ts'
import type { Push } from '../../../protocol/pushes.ts'
import type { DiscoverResult, ErrorReply, Reply, SendResult, Welcome } from '../../../protocol/replies.ts'
import { type Frames, Parsed } from '../../hub/backlog.ts'
import type { Connection } from '../../hub/connection.ts'
import type { Dialect, Frame, Speak } from '../../hub/dialect.ts'
import { dispatch } from '../../hub/dispatch.ts'
import { PING_FRAME } from '../../hub/outbox.ts'
import { toAgentRecord } from '../agent-record.ts'
import { decode, encodedBytes } from '../codec.ts'
import { MXP_FLAGS, type MxpMessage } from '../message.ts'
import { MxpError } from '../mxp-error.ts'
import { BadPayload, type JsonObject, nameOf, parsePayload } from '../payload.ts'
import { checkFlags, codeOf, errorBody, RegistryError, verdictCode } from '../registry-error.ts'
import { Asked } from './asked.ts'
import { type MxpIds, parseCorrelationId } from './call-ids.ts'
import { Deliveries } from './deliveries.ts'
import { callToSend, eventToSend, isToOne, receiptOf, responseTo, responseToSend } from './envelope.ts'
import { toWire } from './out.ts'
import { OwnCalls } from './own-calls.ts'
import { parseRegisterMessage } from './register-message.ts'
import { GatewayStreams } from './streams.ts'

/** The gateway's subprotocol: one binary WebSocket message is one MXP message. */
export const MXP_SUBPROTOCOL = 'mxp.v1'

const NO_IDS: MxpIds = { messageId: 0n, traceId: 0n }
/** Why a connection is held while its agent is being registered. */
const REGISTERING = 'mxp register'

interface Heartbeat {
  readonly message: MxpMessage
  readonly body: Readonly<Record<string, unknown>>
}

/** Translates between the messages of one MXP agent and the frames of the hub (docs/mxp.md). */
export class MxpDialect implements Dialect {
  readonly #connection: Connection
  readonly #asked = new Asked()
  readonly #ownCalls = new OwnCalls((wire) => this.#send(wire))
  readonly #deliveries = new Deliveries(this.#ownCalls)
  readonly #streams: GatewayStreams
  /** Heartbeats that have no answer yet; the hub's `pong`s come in the same order. */
  readonly #heartbeats: Heartbeat[] = []
  /** What the agent registered last. */
  #registration: Registration | null = null

  constructor(connection: Connection) {
    this.#connection = connection
    this.#streams = new GatewayStreams({
      command: (frame) => dispatch(connection, frame),
      send: (wire) => this.#send(wire),
      ack: (message) => {
        for (const wire of ackTo(message)) this.#send(wire)
      },
      refuse: (message, error) => this.#send(this.#errorTo(message, error)),
    })
  }

  read(data: Buffer, isBinary: boolean): Frames | CloseReason {
    if (!isBinary) return 'unsupported_data'
    try {
      const mxp = decode(data)
      return new Parsed({ mxp, trailing: data.length - encodedBytes(mxp) }, data.length)
    } catch (error) {
      if (!(error instanceof MxpError)) throw error
      // Whose message it was is not known: nothing of it can be trusted.
      this.#send(toWire('Error', NO_IDS, { error: error.message, code: verdictCode(error) }))
      return 'bad_protocol'
    }
  }

  commands(frame: Frame): readonly Frame[] {
    if (!('mxp' in frame)) return [frame]
    const message = frame.mxp as MxpMessage
    try {
      if (frame.trailing !== 0)
        throw new RegistryError(
          'TRAILING_BYTES',
          `${String(frame.trailing)} bytes follow the checksum; leave them out`,
        )
      checkFlags(message)
      return this.#translate(message)
    } catch (error) {
      return this.#refuse(message, error)
    }
  }

  /** A message that is wrong goes to the hub all the same, as a frame that it refuses: so it counts in the agent's rate, and waits its turn. */
  #refuse(message: MxpMessage, refusal: unknown): Frame[] {
    if (this.#connection.state === 'open')
      return [this.#asked.add(message, 'mxp', {}, { onOk: () => [], refusal })]
    this.#send(this.#errorTo(message, refusal))
    return []
  }

  #send(wire: Buffer): void {
    if (this.#connection.state !== 'closing') this.#connection.outbox.pushWire(wire)
  }

  #errorTo(message: MxpIds, error: unknown): Buffer {
    const body = errorBody(error)
    if (body !== null) return toWire('Error', message, body)
    this.#connection.log.error({ err: error }, 'mxp message failed')
    return toWire('Error', message, { error: 'the hub failed at this message; try again', code: 'INTERNAL' })
  }

  #translate(message: MxpMessage): readonly Frame[] {
    const { type, messageId } = message
    if (type === 'AgentRegister') return [this.#register(message, parsePayload(message.payload))]
    if (type === 'AgentHeartbeat') return this.#heartbeat(message, parsePayload(message.payload))
    if (this.#connection.state !== 'open')
      throw new RegistryError('NOT_REGISTERED', `${type} before AgentRegister; register first`)
    switch (type) {
      case 'AgentDiscover':
        return [this.#discover(message, parsePayload(message.payload))]
      case 'Call':
        return [this.#call(message)]
      case 'Event':
        return [this.#asked.add(message, 'send', eventToSend(message), { onOk: stored(message) })]
      case 'Response':
        return [this.#respond(message)]
      case 'StreamOpen': {
        const command = this.#streams.open(message, this.#deliveries.callOf(messageId))
        const onError = (): void => this.#streams.refused(command.stream)
        return [this.#asked.add(message, 'stream.open', command, { onOk: () => ackTo(message), onError })]
      }
      case 'StreamChunk':
        this.#streams.chunk(message)
        return []
      case 'StreamClose':
        this.#streams.close(message)
        return []
      case 'Ack':
        return this.#deliveries.settle(messageId)
      case 'Error':
        return this.#reject(message)
    }
  }

  #call(message: MxpMessage): Frame {
    const send = callToSend(message)
    if (!isToOne(send)) return this.#asked.add(message, 'send', send, { onOk: stored(message) })
    this.#ownCalls.add(message)
    const { ttlMs } = send
    const onOk = (result: unknown): Buffer[] => {
      this.#ownCalls.stored(message, typeof ttlMs === 'number' ? ttlMs : null)
      return stored(message)(result)
    }
    const onError = (): void => this.#ownCalls.over(message)
    return this.#asked.add(message, 'send', { ...send, receipt: receiptOf(send) }, { onOk, onError })
  }

  /** A Response has ended its Call once it is stored. */
  #respond(message: MxpMessage): Frame {
    const send = responseToSend(message, this.#deliveries.callOf(message.messageId))
    return this.#asked.add(message, 'send', send, {
      onOk: (result) => {
        this.#later(() => this.#deliveries.settle(message.messageId))
        return stored(message)(result)
      },
    })
  }

  /** An Error that ends a Call is told to whoever made it, and then the Call is given up. */
  #reject(message: MxpMessage): readonly Frame[] {
    const { nacks, response } = this.#deliveries.reject(message)
    if (!response) return nacks
    const { call, body } = response
    const giveUp = (): void => this.#later(() => nacks)
    const onOk = (): Buffer[] => {
      giveUp()
      return []
    }
    const send = responseTo(call, message, body)
    // Where it cannot be told, since whoever made it is gone, say, it is given up all the same.
    return [this.#asked.add(message, 'send', send, { onOk, onError: giveUp, isSilent: true })]
  }

  /** Has the hub work on commands, not in the middle of what it is at. */
  #later(commands: () => readonly Frame[]): void {
    queueMicrotask(() => {
      if (this.#connection.state !== 'open') return
      for (const command of commands()) dispatch(this.#connection, command)
    })
  }

  #register(message: MxpMessage, payload: JsonObject): Frame {
    const { settings } = this.#connection.hub
    const { id, registration } = parseRegisterMessage(payload, settings.mxpRules)
    const { session } = this.#connection
    if (session) return this.#registerAgain(message, session.agentId, id, registration)
    this.#registration = registration
    const { namespace = settings.mxpNamespace, session: proof, window, producer } = payload
    const { name, leaderEligible } = registration
    // Said only where it is asked for: then it is refused to who may not lead.
    const agent = { id, name, ...(leaderEligible && { leaderEligible }) }
    // What follows has to wait for the welcome.
    this.#connection.hold(REGISTERING)
    const hello = { protocol: 1, namespace, session: proof, window, producer, agent }
    return this.#asked.add(message, 'hello', hello, {
      onOk: (result) => {
        const { type: _type, ref: _ref, protocol: _protocol, agent: _agent, ...more } = result as Welcome
        return [toWire('Response', message, { ...registered(id), ...more })]
      },
    })
  }

  #registerAgain(message: MxpMessage, agentId: string, id: string, registration: Registration): Frame {
    if (agentId !== id || this.#registration?.name !== registration.name)
      throw new RegistryError(
        'FORBIDDEN',
        `this connection is that of agent ${show(agentId)}; open another one`,
      )
    this.#registration = registration
    const onOk = (): Buffer[] => [toWire('Response', message, registered(id))]
    return this.#asked.add(message, 'update', { capabilities: registration.capabilities }, { onOk })
  }

  /** Not of what `hello` says: MXP has rules of its own, by which it was judged when it was read. */
  register(_agent: AgentFields): Registration {
    if (!this.#registration) throw new MeshError('bad_frame', 'an MXP agent registers by AgentRegister')
    return this.#registration
  }

  merge(registration: Registration, fields: AgentFields): Registration {
    // By which it is elected, and whether it outlives its connection, it says once; who may not lead any more the hub says.
    const { ephemeral } = registration
    const leaderEligible = fields.leaderEligible ?? registration.leaderEligible
    return { ...(this.#registration ?? registration), ephemeral, leaderEligible }
  }

  #discover(message: MxpMessage, payload: JsonObject): Frame {
    const capability = nameOf(payload, 'capability')
    const { limit, cursor, where: more = null } = payload
    if (typeof more !== 'object' || Array.isArray(more)) throw new BadPayload('where must be an object')
    const where = { ...more, capabilities: { all: [capability] } }
    const onOk = (result: unknown): Buffer[] => {
      const found = result as DiscoverResult
      const agents = found.agents.map(toAgentRecord)
      return [toWire('Response', message, { capability, agents, count: agents.length, cursor: found.cursor })]
    }
    return this.#asked.add(message, 'discover', { where, limit, cursor }, { onOk })
  }

  #heartbeat(message: MxpMessage, payload: JsonObject): Frame[] {
    const agentId = nameOf(payload, 'agent_id')
    const { session, state } = this.#connection
    const body = { success: true, needs_register: false, agent_id: agentId }
    if (state !== 'open' || session?.agentId !== agentId) {
      const unknown = { success: false, needs_register: true, message: `Agent not found: ${agentId}` }
      return this.#beat({ message, body: { ...body, ...unknown } })
    }
    const onOk = (): Buffer[] => [alive({ message, body })]
    if (message.flags & MXP_FLAGS.FINAL)
      return [this.#asked.add(message, 'bye', { keep: payload.keep }, { onOk })]
    const working = this.#deliveries.progress(payload)
    const { status, statusReason, metrics } = payload
    if (status == null && statusReason == null && metrics == null)
      return [...working, { type: 'pong' }, ...this.#beat({ message, body })]
    const fields = {
      status: typeof status === 'string' ? status.toLowerCase() : status,
      statusReason,
      metrics,
    }
    return [...working, this.#asked.add(message, 'update', fields, { onOk })]
  }

  /** Answered by way of the hub's answer to a ping, so that heartbeats count in the agent's rate and have their turn. */
  #beat(heartbeat: Heartbeat): Frame[] {
    if (this.#connection.state === 'open') {
      this.#heartbeats.push(heartbeat)
      return [{ type: 'ping' }]
    }
    this.#send(alive(heartbeat))
    return []
  }

  write(text: string): readonly Buffer[] {
    const [frame] = decodeFrames(text)
    return this.#tell(frame as unknown as Push | Reply)
  }

  #tell(frame: Push | Reply): readonly Buffer[] {
    switch (frame.type) {
      case 'ok':
        return this.#asked.take(frame.ref)?.onOk(frame.result) ?? []
      case 'welcome':
        this.#endRegistering()
        return this.#asked.take(frame.ref)?.onOk(frame) ?? []
      case 'error':
        return this.#tellError(frame)
      case 'message':
      case 'receipt': {
        const { wires, acks } =
          frame.type === 'message' ? this.#deliveries.message(frame) : this.#deliveries.receipt(frame)
        if (acks.length > 0) this.#later(() => [{ type: 'ack', ids: [...acks] }])
        return wires
      }
      case 'revoked':
        return this.#deliveries.revoked(frame)
      case 'ping':
        return [PING_FRAME]
      case 'pong':
        return this.#heartbeats.splice(0, 1).map(alive)
      case 'goaway':
        return [toWire('Event', NO_IDS, frame)]
      case 'stream.open': {
        const called = parseCorrelationId(frame.correlationId)
        if (called) this.#ownCalls.over(called)
        return [this.#streams.opened(frame)]
      }
      case 'stream.chunk':
        return this.#streams.chunked(frame)
      case 'stream.end':
        return this.#streams.ended(frame)
      case 'stream.cancel':
        return this.#streams.cancelled(frame)
      case 'stream.credit':
        this.#streams.credited(frame)
        return []
      // Nothing of MXP subscribes.
      case 'event':
      case 'snapshot':
        return []
    }
  }

  #tellError({ ref, error }: ErrorReply): Buffer[] {
    const question = this.#asked.take(ref)
    if (question?.refusal !== undefined) return [this.#errorTo(question.message, question.refusal)]
    this.#endRegistering()
    question?.onError?.()
    if (question?.isSilent) return []
    const { code, message, ...more } = error
    const body = { error: message, code: codeOf(code), ...more }
    return [toWire('Error', question?.message ?? NO_IDS, body)]
  }

  close(): void {
    this.#ownCalls.close()
  }

  /** Later: the hub has more to do for the new session before it works on what its agent sends. */
  #endRegistering(): void {
    queueMicrotask(() => this.#connection.release(REGISTERING))
  }
}

/** The Ack of a message that asks for one. */
function ackTo(message: MxpMessage, body?: object): Buffer[] {
  return message.flags & MXP_FLAGS.REQUIRES_ACK ? [toWire('Ack', message, body)] : []
}

/** The Ack of a message that the store took. */
const stored =
  (message: MxpMessage) =>
  (result: unknown): Buffer[] => {
    const { id, recipients } = result as SendResult
    return ackTo(message, { id, recipients })
  }

const registered = (agentId: string) => ({ success: true, agent_id: agentId, message: 'Agent registered' })

const alive = ({ message, body }: Heartbeat): Buffer =>
  toWire('Response', message, { ...body, timestamp: new Date().toISOString() })

export const speakMxp: Speak = (connection) => new MxpDialect(connection)
