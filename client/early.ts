import * as LIMITS from '../protocol/limit-values.ts'
import { checkInteger, handled } from './errors.ts'
import { addHandler } from './handlers.ts'
import type { Handlers } from './handlers.ts'
import type { Loading } from './loading.ts'
import type { Handler, HandlerOptions } from './message.ts'
import type { Parts } from './parts.ts'
import { createPending } from './pending.ts'
import { standIn } from './stand-in.ts'
import type { StreamHandler } from './stream.ts'
import type { StreamReader, StreamReaderOptions } from './stream-reader.ts'
import type { Watch, WatchOptions } from './watch.ts'
import type { Where } from './where.ts'

type Registration = [subject: string | null, handler: Handler, how: HandlerOptions | undefined]

/** How an answer is waited for. */
export type AnswerOptions = StreamReaderOptions & { readonly timeoutMs: number }

/** What is answered at once, though only the parts can do it: it stands for what they make when they are there. */
export interface Early {
  /**
   * Registers a handler, as `make` does, with the parts or until they are there. Answers how to remove it.
   * @throws as `addHandler`
   */
  handle(registration: Registration, make: (parts: Parts) => () => void): () => void
  /** The same for who takes streams. */
  take(handler: StreamHandler): () => void
  /**
   * A reader for the answer to a query, which may be sent now.
   * @throws MeshError `bad_frame` for a `window` that is none
   */
  expect(correlationId: string, options: AnswerOptions): StreamReader
  /** A watch that begins when the parts are there. @throws what JSON.stringify throws for a `where` that has no JSON text */
  watch(where: Where | null, how: WatchOptions): Watch
}

export function createEarly(loading: Loading): Early {
  const handlers: Handlers = new Map()
  const takers: Handlers = new Map()

  function register(
    early: Handlers,
    registration: Registration,
    make: (parts: Parts) => () => void,
  ): () => void {
    if (loading.parts) return make(loading.parts)
    const drop = addHandler(early, ...registration)
    let remove: () => void = drop
    loading.soon((parts) => {
      if (drop()) remove = make(parts)
    })
    return () => remove()
  }

  return {
    handle: (registration, make) => register(handlers, registration, make),
    take: (handler) =>
      register(takers, ['streams', handler as never, undefined], ({ streams }) => streams.handle(handler)),
    expect(correlationId, options) {
      checkInteger('window', options.window, LIMITS.streamCreditMax)
      const withdrawal = new AbortController()
      const coming = createPending<StreamReader>(options, 'the request', (error) => {
        if (error) withdrawal.abort()
      })
      loading.soon(({ streams }) => {
        if (!coming.open) return
        const reader = streams.expect(correlationId, options)
        reader.withdrawn.addEventListener('abort', () => withdrawal.abort())
        coming.resolve(reader)
      }, coming.fail)
      return standIn<StreamReader>(coming, {
        from: null,
        correlationId,
        over: handled(coming.promise.then((reader) => reader.over)),
        withdrawn: withdrawal.signal,
        unasked: coming.fail,
      })
    },
    watch(where, how) {
      // What has no JSON text has to fail here.
      JSON.stringify(where)
      const coming = createPending<Watch>()
      const watch = standIn<Watch>(coming, {
        ready: handled(coming.promise.then(({ ready }) => ready)),
        agents: new Map(),
        revision: null,
        leader: { agentId: null, term: 0 },
      })
      loading.soon(
        ({ subscriptions }) => coming.open && coming.resolve(subscriptions.open(where, how)),
        (error, reason) => (reason ? coming.fail(error) : watch.close()),
      )
      return watch
    },
  }
}
