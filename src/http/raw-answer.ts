import { STATUS_CODES } from 'node:http'
import { SECURITY_HEADERS } from './security-headers.ts'

/** The headers of security as lines of an answer that is written as bytes. */
export const SECURITY_LINES: readonly string[] = Object.entries(SECURITY_HEADERS).map(
  ([name, value]) => `${name}: ${value}`,
)

/** A whole answer, after which its connection ends, where there is nothing that would write one: before and beside the routes. */
export function rawAnswer(
  status: number,
  text: string,
  headers: Readonly<Record<string, string | number>> = {},
): string {
  const body = `${text}\n`
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: text/plain',
    ...SECURITY_LINES,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

/** What a request that Node could not read is answered; null: its peer has gone. */
export function unreadableAnswer({ code }: NodeJS.ErrnoException): string | null {
  switch (code) {
    case 'ECONNRESET':
      return null
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return rawAnswer(408, 'The request took too long; send it at once')
    case 'HPE_HEADER_OVERFLOW':
      return rawAnswer(431, 'The headers are longer than this hub reads; send fewer or shorter ones')
    default:
      return rawAnswer(400, 'This is no request that this hub can read')
  }
}
