/**
 * How often an entry of a lane was pushed by earlier sessions, without a write for each push. A session pushes a lane in
 * order from its first unacknowledged entry, so one number tells what it pushed: its mark, the last number pushed. An entry
 * was pushed by every session whose mark is not below its number. Marks are stored as text, `"120:2,99:1"`: two sessions got as far
 * as 120, one as far as 99.
 */
export interface Mark {
  readonly number: number
  readonly sessions: number
}

// A lane that stays unread under a flapping agent must not collect marks without end; merging the lowest keeps counts too high, never too low.
const MARKS_MAX = 32

export function parseMarks(text: string): Mark[] {
  if (text === '') return []
  const sessionsByNumber = new Map<number, number>()
  for (const part of text.split(',')) {
    const [number = 0, sessions = 0] = part.split(':').map(Number)
    sessionsByNumber.set(number, (sessionsByNumber.get(number) ?? 0) + sessions)
  }
  return [...sessionsByNumber]
    .map(([number, sessions]) => ({ number, sessions }))
    .toSorted((a, b) => b.number - a.number)
}

/** `marks` and a session that pushed up to `pushed`; what lies below `first`, the first entry left, is dropped. */
export function addMark(marks: readonly Mark[], pushed: number, first: number): string {
  const all = parseMarks([...marks.map((mark) => `${mark.number}:${mark.sessions}`), `${pushed}:1`].join(','))
  const kept = all.filter((mark) => mark.number >= first && mark.number > 0)
  while (kept.length > MARKS_MAX) {
    const last = kept.pop()
    const lowest = kept.at(-1)
    if (last && lowest)
      kept[kept.length - 1] = { number: lowest.number, sessions: lowest.sessions + last.sessions }
  }
  return kept.map((mark) => `${mark.number}:${mark.sessions}`).join(',')
}

/** Which push of entry `number` the next one is: 1 for the first. */
export function attemptOf(marks: readonly Mark[], number: number, rejections: number): number {
  let attempt = 1 + rejections
  for (const mark of marks) {
    if (mark.number < number) break
    attempt += mark.sessions
  }
  return attempt
}

const FIRST = ',"attempt":1}'

/** The frame with another attempt; one that does not end in `,"attempt":1}` (a receipt) counts none. */
export function withAttempt(text: string, attempt: number): string {
  return attempt === 1 || !text.endsWith(FIRST)
    ? text
    : `${text.slice(0, -FIRST.length)},"attempt":${attempt}}`
}
