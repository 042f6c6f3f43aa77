import { vi } from 'vitest'
import { createIncoming } from '../../client/incoming.ts'
import type { HandlerContext, ReceivedMessage } from '../../client/message.ts'
import { turnScope } from '../../client/scope.ts'
import type { Incident } from '../../client/status.ts'
import type { Line } from '../../client/writer.ts'
import type { Message } from '../../protocol/pushes.ts'
import { messageFrame } from './scripted-hub.ts'

type Fields = Readonly<Record<string, unknown>>

/** What the hub pushes, on a fake clock, with a hub that the test plays: `told` is what it would have heard. */
export function incoming(options: { concurrency?: number; window?: number } = {}) {
  const lines: Line[] = []
  const incidents: Incident[] = []
  const replies: { to: string; payload: unknown }[] = []
  const state = {
    online: true,
    awaited: new Set<string>(),
    /** What the requests of handlers, by their `context`, are answered with. */
    asked: [] as ((reply: Message) => void)[],

    replyError: null as Error | null,
    storing: Promise.resolve(),
  }
  const box = createIncoming(
    {
      scope: turnScope(),
      write: (line) => state.online && lines.push(line),
      reply: async ({ from }, payload) => {
        if (state.replyError !== null) throw state.replyError
        replies.push({ to: from, payload })
        await state.storing
        return { id: 'r1', recipients: 1 }
      },
      request: (run) => {
        const reply = new Promise<Message>((resolve) => state.asked.push(resolve))
        run.wait(reply)
        return reply
      },
      stream: async () => undefined,
      take: ({ correlationId }) => state.awaited.delete(correlationId ?? ''),
      waiting: () => state.awaited.size,
      emit: (incident) => incidents.push(incident),
    },
    { concurrency: 10, window: 4, redeliveryDelayMs: 1000, unhandledTimeoutMs: 60_000, ...options },
  )
  return {
    box,
    incidents,
    replies,
    state,
    push: (id: string, fields: Fields = {}) => box.receive(messageFrame(id, fields) as unknown as Message),
    /** What goes to the hub at the end of this turn, once everything has come to rest. */
    async told(): Promise<unknown[]> {
      await vi.advanceTimersByTimeAsync(0)
      const text = lines.splice(0).map((line) => (typeof line === 'string' ? line : line()))
      return text
        .flatMap((frames) => frames.split('\n'))
        .flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
    },
    lost() {
      state.online = false
      lines.length = 0
      box.lost()
    },
    resume(ackTimeoutMs = 60_000, work: readonly string[] | null = null) {
      state.online = true
      box.resume({ limits: { ackTimeoutMs }, ...(work && { work }) })
    },
    revoke: (...ids: string[]) => box.revoked({ ids, reason: 'ack_timeout' }),
  }
}

/** A handler whose calls end when the test says so. */
export function stepwise() {
  const running: {
    id: string
    message: ReceivedMessage
    context: HandlerContext
    end: (value?: unknown) => void
    fail: (error: Error) => void
  }[] = []
  const handler = (message: ReceivedMessage, context: HandlerContext): Promise<unknown> =>
    new Promise((resolve, reject) =>
      running.push({ id: message.id, message, context, end: resolve, fail: reject }),
    )
  return { handler, running, ids: () => running.map(({ id }) => id) }
}

/** The frame that acknowledges these. */
export const ack = (...ids: string[]) => ({ type: 'ack', ids })
export const progress = (...ids: string[]) => ({ type: 'progress', ids })

/** What makes a pushed message work of a queue. */
export const WORK = { via: 'queue', capability: 'nlp' }
