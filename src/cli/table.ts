/** Longer cells are cut: one agent must not push the others apart. */
const CELL_MAX = 60

/** Text of others as a terminal may show it: what would move its cursor or colour it is written out. */
export const visible = (text: string): string =>
  text.replace(
    // oxlint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

function cut(text: string): string {
  const shown = visible(text)
  return shown.length > CELL_MAX ? `${shown.slice(0, CELL_MAX - 1)}…` : shown
}

/** Lines with columns below each other, indented by two. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map(cut))
  const widths: number[] = []
  for (const row of cells)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  return cells.map((row) =>
    `  ${row
      .flatMap((cell, column) => (widths[column] === 0 ? [] : cell.padEnd(widths[column] ?? 0)))
      .join('  ')}`.trimEnd(),
  )
}
