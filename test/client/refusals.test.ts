import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { connect } from '../../client/node.ts'
import type { StatusEvent } from '../../client/status.ts'
import { fileOfTest } from '../support/authentication.ts'
import { startTestHub } from '../support/hubs.ts'

const AGENT = { name: 'alice', capabilities: ['nlp'] }

/** Why the first try to connect failed, in words. */
async function firstFailure(url: string): Promise<string> {
  const giveUp = new AbortController()
  let said = ''
  const onStatus = (event: StatusEvent): void => {
    if (event.type !== 'waiting' || event.cause === null) return
    said = event.cause.error.message
    giveUp.abort()
  }
  await connect({ ...AGENT, url, onStatus, signal: giveUp.signal }).catch(() => undefined)
  return said
}

test('a client whose upgrade is refused for good is told why by the hub', async () => {
  const tokensFile = await fileOfTest('tokens.json', '[]')
  await using hub = await startTestHub('memory', { tokensFile })
  const refused = connect({ ...AGENT, url: hub.url, token: 'a-token-that-nobody-knows' })
  await expect(refused).rejects.toMatchObject({
    code: 'unauthorized',
    message: expect.stringMatching(/token .*\(HTTP 401\) \(close code 4401\)$/),
  })
})

test('a client that looks for a hub at another path is told where it is', async () => {
  await using hub = await startTestHub('memory')
  expect(await firstFailure(hub.url.replace('/mesh', ''))).toContain('WebSockets are at /mesh (HTTP 404)')
})

test.each([
  ['a page', 'text/html', '<html>'.repeat(10)],
  ['ever more text', 'text/plain', 'x'.repeat(100_000)],
])('what no hub says is not passed on: %s', async (_, type, body) => {
  const other = createServer().listen(0, '127.0.0.1')
  other.on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined)
    socket.end(`HTTP/1.1 404 Not Found\r\nContent-Type: ${type}\r\nConnection: close\r\n\r\n${body}`)
  })
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  expect(await firstFailure(`ws://127.0.0.1:${port}/`)).toContain('Unexpected server response: 404 (')
  other.close()
})
