import type { Target } from '../protocol/message.ts'
import type { SendResult, Welcome } from '../protocol/replies.ts'
import type { Acks } from './acks.ts'
import type { Calls } from './calls.ts'
import type { SealOptions } from './envelope.ts'
import { dispatch } from './frames.ts'
import type { Frame, Frames } from './frames.ts'
import type { Incoming } from './incoming.ts'
import type { IncomingPort } from './incoming-port.ts'
import { createIncoming } from './incoming.ts'
import type { Settings } from './options.ts'
import { createReceipts } from './receipts.ts'
import type { Receipts } from './receipts.ts'
import type { Requests } from './requests.ts'
import { createValidation, told } from './schemas.ts'
import type { Part as CheckedPart, Validation } from './schemas.ts'
import type { Platform } from './socket.ts'
import type { Incident } from './status.ts'
import { createStreams } from './streams.ts'
import type { Streams } from './streams.ts'
import { createSubscriptions } from './subscriptions.ts'
import type { Subscriptions } from './subscriptions.ts'
import { createTokenRefresh } from './token-refresh.ts'
import type { Line } from './writer.ts'

/** What the parts stand on. */
export interface Kernel extends Pick<IncomingPort, 'request'> {
  readonly calls: Calls
  readonly requests: Requests
  readonly platform: Pick<Platform, 'scope'>
  readonly settings: Settings
  /** What was acknowledged before there were parts. */
  readonly acks: Acks
  /** Writes to the open connection; without one, nowhere. */
  write(line: Line): void
  /** Sends what the schema of `type` lets pass; of a reply `type` is that of what it answers. */
  send(to: Target, payload: unknown, how: SealOptions, part: CheckedPart, type: string): Promise<SendResult>
  emit(incident: Incident): void
  /** Handlers that run at once. */
  readonly concurrency: number
  /** Bytes of JSON that the hub takes in one payload. */
  maxPayloadBytes(): number
}

/**
 * What a client does besides staying connected, sending, asking and finding: it handles what it is sent, streams, watches, follows
 * receipts, checks schemas and refreshes its token. A page without a bundler fetches all that from a file of its own (page.ts).
 */
export interface Parts {
  readonly incoming: Incoming
  readonly receipts: Receipts
  readonly streams: Streams
  readonly subscriptions: Subscriptions
  readonly validation: Validation
  /** A frame came that is none of the kernel's. */
  frame(frame: Frame): void
  /** A session is open. */
  resume(welcome: Welcome): void
  /** The connection is gone; `closing`: and there will be no other one. */
  lost(closing: boolean): void
  /** The client has ended: `error` is for what is open, `reason` is null where it was closed. */
  fail(error: Error, reason: Error | null): void
}

export type CreateParts = typeof createParts

export function createParts(kernel: Kernel): Parts {
  const { write, calls, requests, emit, settings } = kernel
  const validation = createValidation(settings.schemas ?? {})
  const subscriptions = createSubscriptions(calls)
  const streams = createStreams({
    write,
    once: calls.once,
    refuse: requests.refuse,
    changed: () => incoming.pump(),
    emit,
    maxPayloadBytes: kernel.maxPayloadBytes,
  })
  const incoming = createIncoming(
    {
      scope: kernel.platform.scope,
      write,
      emit: (incident) => emit(told(incident)),
      request: kernel.request,
      reply: ({ from, id, messageType, traceparent, correlationId = id }, payload, options) => {
        const how = {
          ...(traceparent === undefined ? {} : { traceparent }),
          ...options,
          type: 'response',
          correlationId,
          fleeting: true,
        } as const
        return kernel.send({ agent: from }, payload, how, 'reply', messageType)
      },
      stream: (message, values, run) =>
        streams.answer(message, validation.chunks(message.messageType, values), run),
      take: (message) => requests.take(message) || streams.take(message),
      waiting: () => requests.size + streams.waiting,
    },
    { ...settings, concurrency: kernel.concurrency },
    kernel.acks,
  )
  const receipts = createReceipts({ settlements: incoming.settlements, emit })
  const refresh =
    typeof settings.token === 'function' ? createTokenRefresh(settings.token, calls.once) : undefined
  const frames: Frames = {
    message: incoming.receive,
    receipt: receipts.receive,
    revoked: incoming.revoked,
    event: subscriptions.push,
    snapshot: subscriptions.push,
    ...streams.frames,
    ping: incoming.heard,
  }

  return {
    incoming,
    receipts,
    streams,
    subscriptions,
    validation,
    frame: (frame) => void dispatch(frames, frame),
    resume(welcome) {
      incoming.resume(welcome)
      subscriptions.resume()
      refresh?.resume(welcome)
    },
    lost(closing) {
      refresh?.stop()
      streams.lost(closing)
      subscriptions.lost()
      incoming.lost()
    },
    fail(error, reason) {
      refresh?.stop()
      receipts.fail(error)
      streams.fail(error)
      subscriptions.fail(error, reason)
      incoming.fail(error)
    },
  }
}
