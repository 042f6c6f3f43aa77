import { randomBytes } from 'node:crypto'

/** Values of the counter within one millisecond. */
const COUNTER_END = 4_096

let lastMs = 0
let counter = 0

/**
 * A UUIDv7 (RFC 9562) greater than every one made before in this process: the 12 bits behind the time count within a millisecond, and a clock
 * that goes back, or a millisecond that is used up, borrows from the future.
 */
export function messageId(now: number = Date.now()): string {
  if (now > lastMs) {
    lastMs = now
    counter = 0
  } else if (++counter === COUNTER_END) {
    lastMs++
    counter = 0
  }
  const time = lastMs.toString(16).padStart(12, '0')
  const random = randomBytes(8)
  random[0] = ((random[0] ?? 0) & 0x3f) | 0x80
  const tail = random.toString('hex')
  const count = counter.toString(16).padStart(3, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-${tail.slice(0, 4)}-${tail.slice(4)}`
}
