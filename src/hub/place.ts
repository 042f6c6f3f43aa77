import type { Lane } from '../core/inboxes.ts'

/** The broadcast log, as a third source beside the lanes. */
export type Source = Lane | 'log'

const SOURCES: readonly Source[] = ['inbox', 'replies', 'log']
export const INBOX = 0
export const REPLIES = 1
export const LOG = 2

/**
 * Where a message that the client holds is stored, as one number: an object a message in flight would be most of what the
 * garbage collector has to carry.
 */
export type Place = number
export const placeOf = (source: number, number: number): Place => number * 4 + source
export const sourceOf = (place: Place): number => place % 4
export const numberOf = (place: Place): number => Math.floor(place / 4)
export const sourceNameOf = (place: Place): Source => SOURCES[sourceOf(place)] ?? 'inbox'
