/** The cells of every table row of a text, without the heads' underlines. */
export function tableRows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[\s|:-]+\|$/.test(line))
    .map((line) =>
      line
        .slice(1, line.lastIndexOf('|'))
        .split('|')
        .map((cell) => cell.trim()),
    )
}

/** The contents of the fenced blocks of a language (`''`: of none), in order. */
export function fencedBlocks(text: string, language: string): string[] {
  const found = text.matchAll(/^```(\S*)\n([\s\S]*?)^```$/gm)
  return [...found].filter(([, name]) => name === language).map(([, , body = '']) => body)
}

/** The JSON values of a block: each starts on a line of its own and may go on over several. */
export function jsonValues(block: string): unknown[] {
  const values: unknown[] = []
  let pending = ''
  for (const line of block.split('\n')) {
    pending += line
    if (pending.trim() === '') continue
    try {
      values.push(JSON.parse(pending))
      pending = ''
    } catch (error) {
      // A value that begins while another one is open will never be complete.
      if (line.startsWith('{') && pending !== line) throw error
    }
  }
  if (pending.trim() !== '') throw new Error(`no JSON: ${pending}`)
  return values
}

/** What a text links to, code left out. */
export function linkTargets(text: string): string[] {
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '').replace(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
}

/** The anchors of a text's headings. */
export function headingAnchors(text: string): Set<string> {
  const headings = text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm)
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replace(/\s/g, '-'),
    ),
  )
}
