import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { tableRows } from '../support/markdown.ts'

/** A line of a table of SECURITY.md. */
export interface Line {
  readonly id: string
  readonly what: string
  /** What the line says in code of what becomes of it: in tables of who may what, the cells after the third. */
  readonly outcomes: readonly string[]
}

const codes = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)

/** The lines of SECURITY.md whose ids begin with one of these letters. */
export function linesOf(letters: string): readonly Line[] {
  const text = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8')
  return tableRows(text)
    .filter(([id = '']) => /^[A-Z]\d+$/.test(id) && letters.includes(id[0] ?? ''))
    .map(([id = '', what = '', ...cells]) => {
      const isTold = 'DN'.includes(id[0] ?? '')
      return { id, what, outcomes: (isTold ? [what, ...cells] : cells.slice(1)).flatMap(codes) }
    })
}

/** What a line's case observes: an outcome for each cell, or nothing where it checks by itself. */
export type Case = () => Promise<readonly string[] | void>

/** One test a line, which compares what its case observes with what the cells say; a line without a case fails, and so does a case without a line. */
export function testLines(letters: string, cases: Readonly<Record<string, Case>>): void {
  describe(`SECURITY.md, ${letters}`, () => {
    const lines = linesOf(letters)

    it('has a case for each line, and a line for each case', () => {
      expect(Object.keys(cases).toSorted()).toEqual(lines.map(({ id }) => id).toSorted())
      expect(lines.length).toBeGreaterThan(0)
    })

    it.each(lines.map((line) => [line.id, line.what, line] as const))('%s: %s', async (id, _what, line) => {
      const one = cases[id]
      if (one === undefined) throw new Error(`${id} has no case`)
      const observed = await one()
      expect(observed ?? []).toEqual(line.outcomes)
    })
  })
}
