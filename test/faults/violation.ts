import type { Entry, History } from './history.ts'

/** What is promised, by docs/architecture.md; `arrival`: nothing stays in the store once nothing fails any more. */
export const RULES = [
  'stored',
  'arrival',
  'order',
  'once',
  'session',
  'holder',
  'leader',
  'watch',
  'receipt',
] as const
export type Rule = (typeof RULES)[number]

/** A promise that was not kept, and the entries of the history that show it, in order. */
export interface Violation {
  readonly rule: Rule
  readonly what: string
  readonly entries: History
}

export const violation = (rule: Rule, what: string, entries: History): Violation => ({
  rule,
  what,
  entries: [...new Set(entries)].toSorted((a, b) => a.n - b.n),
})

const SHOWN = 24

function line({ n, at, ...entry }: Entry, start: number): string {
  const text = JSON.stringify(entry)
  const seconds = ((at - start) / 1000).toFixed(3)
  return `  #${n} +${seconds}s ${text.length > 300 ? `${text.slice(0, 300)}…` : text}`
}

/** A violation as text: the sentence, then at most 24 entries of the history, and the faults that were on between them. */
export function explain({ rule, what, entries }: Violation, history: History): string {
  const start = history[0]?.at ?? 0
  const shown =
    entries.length > SHOWN ? [...entries.slice(0, SHOWN / 2), ...entries.slice(-SHOWN / 2)] : entries
  const first = shown[0]?.n ?? 0
  const last = shown.at(-1)?.n ?? 0
  const faults = history
    .filter(({ n, kind }) => kind === 'fault' && n > first && n < last)
    .slice(0, SHOWN / 2)
  const lines = [...shown, ...faults].toSorted((a, b) => a.n - b.n).map((entry) => line(entry, start))
  const left = entries.length - shown.length
  return [`${rule}: ${what}`, ...lines, ...(left > 0 ? [`  (${left} more)`] : [])].join('\n')
}
