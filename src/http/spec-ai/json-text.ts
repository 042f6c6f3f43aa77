/** A JSON value with its numbers as they were written, but for the very largest: JavaScript would round them, and forget `1.0`. */
export type Json =
  | { readonly kind: 'null' }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'array'; readonly items: readonly Json[] }
  /** Members in the order they came, doubled ones too. */
  | { readonly kind: 'object'; readonly members: readonly (readonly [name: string, value: Json])[] }

/** Text that is no JSON, or more than serde_json takes. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError'
}

/** Arrays and objects inside one another that serde_json still reads. */
const MAX_DEPTH = 127

/**
 * From here on serde_json, which multiplies its way to a number, takes some for infinite that are not: `1.7976931348623158e308`, which C calls
 * DBL_MAX, or the largest number with all its digits. It reads each of them as JavaScript writes it.
 */
const EXACT_BELOW = 1.797e308

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const SPACE = /[ \t\n\r]*/y
// eslint-disable-next-line no-control-regex
const PLAIN = /[^"\\\u0000-\u001f]*/y
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}
const LITERALS = [
  ['null', { kind: 'null' }],
  ['true', { kind: 'boolean', value: true }],
  ['false', { kind: 'boolean', value: false }],
] as const

export interface ParseOptions {
  /** Half a surrogate pair is taken for U+FFFD, and depth does not matter. */
  readonly lenient?: boolean
}

/**
 * Reads JSON as serde_json does: no lone surrogates, no numbers beyond an f64, no more than 127 levels.
 * @throws JsonSyntaxError saying what and where
 */
export function parseJson(text: string, { lenient = false }: ParseOptions = {}): Json {
  return new Parser(text, lenient).document()
}

class Parser {
  readonly #text: string
  readonly #lenient: boolean
  #at = 0
  #depth = 0

  constructor(text: string, lenient: boolean) {
    this.#text = text
    this.#lenient = lenient
  }

  document(): Json {
    this.#skip()
    const value = this.#value()
    this.#skip()
    if (this.#at < this.#text.length) this.#fail('trailing characters')
    return value
  }

  #fail(what: string): never {
    const before = this.#text.slice(0, this.#at + 1).split('\n')
    throw new JsonSyntaxError(`${what} at line ${before.length} column ${before.at(-1)?.length ?? 0}`)
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0] ?? ''
    this.#at += found.length
    return found
  }

  #skip(): void {
    this.#match(SPACE)
  }

  /** Takes a character if it comes next. */
  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at++
    return true
  }

  #value(): Json {
    const first = this.#text[this.#at]
    if (first === undefined) this.#fail('EOF while parsing a value')
    if (first === '"') return { kind: 'string', value: this.#string() }
    if (first === '{') return this.#nested(() => this.#object())
    if (first === '[') return this.#nested(() => this.#array())
    for (const [word, value] of LITERALS) {
      if (!this.#text.startsWith(word, this.#at)) continue
      this.#at += word.length
      return value
    }
    const text = this.#match(NUMBER)
    if (text === '') this.#fail('expected value')
    const next = this.#text[this.#at]
    if (next !== undefined && /[\d.eE+-]/.test(next)) this.#fail('invalid number')
    const value = Number(text)
    if (!Number.isFinite(value)) this.#fail('number out of range')
    return { kind: 'number', text: Math.abs(value) < EXACT_BELOW ? text : String(value) }
  }

  #nested(read: () => Json): Json {
    this.#at++
    this.#depth++
    if (this.#depth > MAX_DEPTH && !this.#lenient) this.#fail('recursion limit exceeded')
    this.#skip()
    const value = read()
    this.#depth--
    return value
  }

  #array(): Json {
    const items: Json[] = []
    if (this.#take(']')) return { kind: 'array', items }
    for (;;) {
      items.push(this.#value())
      this.#skip()
      if (this.#take(']')) return { kind: 'array', items }
      if (!this.#take(',')) this.#fail('expected `,` or `]`')
      this.#skip()
    }
  }

  #object(): Json {
    const members: [string, Json][] = []
    if (this.#take('}')) return { kind: 'object', members }
    for (;;) {
      if (this.#text[this.#at] !== '"') this.#fail('key must be a string')
      const name = this.#string()
      this.#skip()
      if (!this.#take(':')) this.#fail('expected `:`')
      this.#skip()
      members.push([name, this.#value()])
      this.#skip()
      if (this.#take('}')) return { kind: 'object', members }
      if (!this.#take(',')) this.#fail('expected `,` or `}`')
      this.#skip()
    }
  }

  #string(): string {
    this.#at++
    let value = ''
    for (;;) {
      value += this.#match(PLAIN)
      if (this.#take('"')) return value
      if (this.#at >= this.#text.length) this.#fail('EOF while parsing a string')
      if (!this.#take('\\')) this.#fail('control character (\\u0000-\\u001F) found while parsing a string')
      value += this.#escape()
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at] ?? ''
    if (letter !== 'u') {
      const character = ESCAPES[letter]
      if (character === undefined) this.#fail('invalid escape')
      this.#at++
      return character
    }
    const unit = this.#unit()
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit)
    if (unit < 0xdc00 && this.#text.startsWith('\\u', this.#at)) {
      const start = this.#at
      this.#at++
      const second = this.#unit()
      if (second >= 0xdc00 && second <= 0xdfff) return String.fromCharCode(unit, second)
      this.#at = start
    }
    if (!this.#lenient) this.#fail('lone leading surrogate in hex escape')
    return '\ufffd'
  }

  /** The four digits behind a `u`. */
  #unit(): number {
    const digits = this.#text.slice(this.#at + 1, this.#at + 5)
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.#fail('invalid escape')
    this.#at += 5
    return Number.parseInt(digits, 16)
  }
}

/** In one line. */
export function writeJson(value: Json): string {
  const parts: string[] = []
  write(value, parts)
  return parts.join('')
}

function write(value: Json, parts: string[]): void {
  switch (value.kind) {
    case 'null':
      parts.push('null')
      break
    case 'boolean':
      parts.push(String(value.value))
      break
    case 'number':
      parts.push(value.text)
      break
    case 'string':
      parts.push(JSON.stringify(value.value))
      break
    case 'array': {
      let separator = '['
      for (const item of value.items) {
        parts.push(separator)
        write(item, parts)
        separator = ','
      }
      parts.push(separator === '[' ? '[]' : ']')
      break
    }
    case 'object': {
      let separator = '{'
      for (const [name, member] of value.members) {
        parts.push(separator, JSON.stringify(name), ':')
        write(member, parts)
        separator = ','
      }
      parts.push(separator === '{' ? '{}' : '}')
      break
    }
  }
}
