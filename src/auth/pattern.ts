/** Characters of a pattern. */
export const PATTERN_MAX_CHARS = 256

/** Whether a value matches. */
export type Pattern = (value: string) => boolean

/**
 * Compiles a pattern: `*` stands for any characters, none included; everything else for itself. No regular expression is made of it: each part between stars
 * is looked for once, from where the one before ended, so that a value is read through at most once a part and nothing is tried again.
 * @throws RangeError for an empty pattern or one of more than 256 characters
 */
export function compilePattern(pattern: string): Pattern {
  if (pattern.length === 0 || pattern.length > PATTERN_MAX_CHARS)
    throw new RangeError(`a pattern has 1 to ${PATTERN_MAX_CHARS} characters, not ${pattern.length}`)
  const parts = pattern.split('*')
  const head = parts[0] ?? ''
  if (parts.length === 1) return (value) => value === pattern
  const tail = parts.at(-1) ?? ''
  const middle = parts.slice(1, -1).filter((part) => part !== '')
  return (value) => {
    if (value.length < head.length + tail.length || !value.startsWith(head) || !value.endsWith(tail))
      return false
    const end = value.length - tail.length
    let at = head.length
    for (const part of middle) {
      const found = value.indexOf(part, at)
      if (found === -1 || found + part.length > end) return false
      at = found + part.length
    }
    return true
  }
}
