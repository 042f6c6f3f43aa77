import { connectObserver, type IncomingOf, type TestSocket } from './agent.ts'

/** An observer that is told of these events, by default of those that have a revision. */
export async function watchEvents(
  hub: { readonly url: string },
  events?: readonly string[],
): Promise<TestSocket> {
  const observer = await connectObserver(hub)
  await observer.request({ type: 'subscribe', events })
  return observer
}

type Event = IncomingOf<'event'>
/** The next event of a kind. */
export const nextEvent = (observer: TestSocket, kind: Event['event']): Promise<Event> =>
  observer.next('event', ({ event }) => event === kind)

/** Kinds of all events that came and nobody asked for. */
export const kindsOf = (observer: TestSocket): string[] =>
  observer.waitingOf('event').map(({ event }) => event)
