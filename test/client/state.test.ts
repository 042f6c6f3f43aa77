import { describe, expect, it } from 'vitest'
import { closeError } from '../../client/errors.ts'
import { advance } from '../../client/state.ts'
import type { ConnectionState, Ending, Occurrence } from '../../client/state.ts'

const cut: Ending = {
  reason: 'closed',
  code: 1006,
  error: closeError(1006, ''),
  final: false,
  retryAfterMs: null,
}

function after(...occurrences: Occurrence[]): ConnectionState {
  return occurrences.reduce<ConnectionState>((state, occurrence) => advance(state, occurrence), {
    type: 'idle',
  })
}

const dial: Occurrence = { type: 'dial', url: 'ws://h', now: 0 }
const connected: Occurrence = { type: 'connected' }
const welcomed = (now: number): Occurrence => ({ type: 'welcomed', hub: 'h1', resumed: false, now })
const lost = (now: number, random = 1): Occurrence => ({ type: 'lost', cause: cut, now, random })

describe('connection states', () => {
  it('a client goes from idle over connecting and greeting to open', () => {
    expect(after().type).toBe('idle')
    expect(after(dial)).toEqual({ type: 'connecting', url: 'ws://h', attempt: 0 })
    expect(after(dial, connected)).toEqual({ type: 'greeting', url: 'ws://h', attempt: 0 })
    expect(after(dial, connected, welcomed(5))).toEqual({
      type: 'open',
      url: 'ws://h',
      attempt: 0,
      hub: 'h1',
      resumed: false,
      since: 5,
    })
  })

  it('tries that fail one after the other wait longer', () => {
    const first = after(dial, lost(0))
    const second = [dial, connected, lost(0)].reduce(advance, first)
    const third = [dial, lost(0)].reduce(advance, second)
    expect([first, second, third]).toMatchObject([
      { type: 'waiting', attempt: 1, delayMs: 1000, retryAt: 1000, cause: cut },
      { type: 'waiting', attempt: 2, delayMs: 2250 },
      { type: 'waiting', attempt: 3, delayMs: 4250 },
    ])
  })

  it('a connection that lasted 10 s starts the counting anew, a shorter one does not', () => {
    const failedTwice = [dial, lost(0)].reduce(advance, after(dial, lost(0)))
    const open = [dial, connected, welcomed(0)].reduce(advance, failedTwice)
    expect(advance(open, lost(9999))).toMatchObject({ type: 'waiting', attempt: 3 })
    expect(advance(open, lost(10_000))).toMatchObject({ type: 'waiting', attempt: 1 })
  })

  it('a hub that is busy is asked again when it said, and a second more at most, however often it is', () => {
    const busy: Ending = { ...cut, reason: 'busy', retryAfterMs: 3000 }
    const first = advance(after(dial), { type: 'lost', cause: busy, now: 0, random: 0 })
    const second = [dial, { type: 'lost', cause: busy, now: 0, random: 1 } as const].reduce(advance, first)
    const third = [dial, { type: 'lost', cause: busy, now: 0, random: 0.5 } as const].reduce(advance, second)
    expect([first, second, third]).toMatchObject([
      { type: 'waiting', attempt: 1, delayMs: 3000 },
      { type: 'waiting', attempt: 1, delayMs: 4000 },
      { type: 'waiting', attempt: 1, delayMs: 3500 },
    ])
    const failed = [dial, lost(0)].reduce(advance, third)
    expect(failed).toMatchObject({ attempt: 2, delayMs: 2250 })
  })

  it('the hub may ask for a longer wait, not for a shorter one', () => {
    const slow = { ...cut, retryAfterMs: 60_000 }
    expect(advance(after(dial), { type: 'lost', cause: slow, now: 0, random: 0 })).toMatchObject({
      delayMs: 60_000,
    })
    const fast = { ...cut, retryAfterMs: 1 }
    expect(advance(after(dial), { type: 'lost', cause: fast, now: 0, random: 1 })).toMatchObject({
      delayMs: 1000,
    })
  })

  it('waking up shortens a wait and never lengthens it', () => {
    const waiting = after(dial, lost(0))
    expect(advance(waiting, { type: 'woken', delayMs: 100, now: 10 })).toMatchObject({
      delayMs: 100,
      retryAt: 110,
    })
    expect(advance(waiting, { type: 'woken', delayMs: 1000, now: 10 })).toBe(waiting)
    const open = after(dial, connected, welcomed(0))
    expect(advance(open, { type: 'woken', delayMs: 0, now: 10 })).toBe(open)
  })

  it('a draining client that loses its connection waits to connect again', () => {
    const draining = after(dial, connected, welcomed(0), { type: 'drain' })
    expect(draining.type).toBe('draining')
    expect(advance(draining, lost(1)).type).toBe('waiting')
  })

  it('what can not happen in a state changes nothing', () => {
    const idle = after()
    for (const occurrence of [connected, welcomed(0), lost(0), { type: 'drain' } as const]) {
      expect(advance(idle, occurrence)).toBe(idle)
    }
    const connecting = after(dial)
    expect(advance(connecting, welcomed(0))).toBe(connecting)
    const open = after(dial, connected, welcomed(0))
    expect(advance(open, connected)).toBe(open)
  })

  it('closed is for ever', () => {
    const closed = after(dial, { type: 'close', error: null })
    expect(closed).toEqual({ type: 'closed', error: null })
    for (const occurrence of [
      dial,
      connected,
      welcomed(0),
      lost(0),
      { type: 'close', error: cut.error } as const,
    ]) {
      expect(advance(closed, occurrence)).toBe(closed)
    }
  })
})
