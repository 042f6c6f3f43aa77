import { writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { Api, json } from '../support/api.ts'
import { bearer, fileOfTest, joinAs, withSecret } from '../support/authentication.ts'
import { EventReader } from '../support/event-reader.ts'
import { startTestHub } from '../support/hubs.ts'
import { runNode } from '../support/run.ts'
import { tokenFor } from '../support/tokens.ts'

test('where tokens are asked for, a request may what its token permits, and no more', async () => {
  await using hub = await startTestHub('memory', await withSecret())
  const api = new Api(hub)
  await using _ = await joinAs(hub, 'alice')
  expect(await api.refused('GET', '/agents')).toMatchObject({ status: 401, code: 'unauthorized' })
  expect(await api.refused('GET', '/agents', { headers: bearer('x') })).toMatchObject({ status: 401 })
  expect((await api.request('GET', '/openapi.json')).status).toBe(200)
  const headers = bearer(await tokenFor('reader', { mesh: ['discover', 'send:alice', 'register', 'watch'] }))
  expect((await api.request('GET', '/agents', { headers })).status).toBe(200)
  expect((await api.request('GET', '/leader', { headers })).status).toBe(200)
  for (const [method, path] of [
    ['DELETE', '/agents/alice'],
    ['GET', '/agents/alice/inbox'],
    ['GET', '/dead-letters'],
    ['GET', '/queues'],
    ['GET', '/hubs'],
    ['GET', '/namespaces'],
    ['GET', '/events?events=message.dead_lettered'],
    ['GET', '/agents?namespace=other'],
  ] as const)
    expect([path, await api.refused(method, path, { headers })]).toMatchObject([
      path,
      { status: 403, code: 'forbidden' },
    ])
  const send = (body: object): RequestInit => {
    const init = json({ messageType: 'x', ...body })
    return { ...init, headers: { ...headers, 'content-type': 'application/json' } }
  }
  const to = { agent: 'alice' }
  expect((await api.request('POST', '/messages', send({ to }))).status).toBe(202)
  expect((await api.request('POST', '/messages', send({ to, from: 'reader:bot' }))).status).toBe(202)
  for (const body of [{ to: { all: true } }, { to, from: 'bob' }, { to: { agent: 'bob' } }])
    expect(await api.refused('POST', '/messages', send(body))).toMatchObject({ status: 403 })
})

test('a path that only begins like this API is none of it: who shows no token is not even told that it does not exist', async () => {
  await using hub = await startTestHub('memory', await withSecret())
  for (const path of ['/api/v10', '/api/v1x/agents', '/api/v2/agents', '/elsewhere'])
    expect([path, (await fetch(`${hub.httpUrl}${path}`)).status]).toEqual([path, 401])
  expect((await fetch(`${hub.httpUrl}/api/v1/elsewhere`)).headers.get('content-type')).toContain('json')
})

test('pages that are not listed are refused as this API tells errors', async () => {
  await using hub = await startTestHub('memory')
  const refused = await new Api(hub).refused('GET', '/agents', {
    headers: { origin: 'https://evil.example' },
  })
  expect(refused).toMatchObject({ status: 403, code: 'forbidden', retryable: false })
})

test('events end with the token of who reads them', async () => {
  await using hub = await startTestHub('memory', await withSecret())
  const token = await tokenFor('reader', { mesh: ['watch'], expiresIn: 3 })
  await using reader = await EventReader.open(`${hub.httpUrl}/api/v1/events`, '', bearer(token))
  await reader.next('list')
  await reader.ended
  expect(reader.text).toContain(': the token has expired; connect again with a new one\n')
})

test('events end within a second when a token is taken out of the file, or may watch no more', async () => {
  const entry = (sub: string, permissions: readonly string[]) => ({
    token: `the-token-of-${sub}`,
    sub,
    permissions,
  })
  const stays = [entry('dave', ['watch']), entry('erin', ['watch', 'admin'])]
  const before = [entry('bob', ['watch']), entry('carol', ['watch', 'admin']), ...stays]
  const tokensFile = await fileOfTest('tokens.json', JSON.stringify(before))
  await using hub = await startTestHub('memory', { tokensFile })
  const open = async (sub: string, query = ''): Promise<EventReader> => {
    const url = `${hub.httpUrl}/api/v1/events${query}`
    const reader = await EventReader.open(url, '', bearer(`the-token-of-${sub}`))
    await reader.next('list')
    return reader
  }
  const dead = '?events=message.dead_lettered'
  await using bob = await open('bob')
  await using carol = await open('carol', dead)
  await using dave = await open('dave')
  await using erin = await open('erin', dead)
  await writeFile(tokensFile, JSON.stringify([entry('carol', ['watch']), ...stays]))
  await Promise.all([bob.ended, carol.ended])
  expect(bob.text).toContain(': closed: this token counts no more\n')
  expect(carol.text).toContain(': closed: this token does not permit admin:default\n')
  const headers = bearer('the-token-of-bob')
  expect(await new Api(hub).refused('GET', '/events', { headers })).toMatchObject({ status: 401 })
  // A token that is given an end counts until then; who is not meant goes on.
  const expiresAt = new Date(Date.now() + 1_500).toISOString()
  const ending = { ...entry('dave', ['watch']), expiresAt }
  await writeFile(tokensFile, JSON.stringify([ending, entry('erin', ['watch', 'admin'])]))
  await dave.ended
  expect(dave.text).toContain(': the token has expired; connect again with a new one\n')
  expect(erin.text).not.toContain('closed')
})

test('meshwire status shows its token, and says so where it needs one', async () => {
  await using hub = await startTestHub('memory', await withSecret())
  const args = ['dist/src/cli/main.js', 'status', '--url', hub.httpUrl]
  const refused = await runNode(args)
  expect(refused.code).toBe(1)
  expect(refused.errors).toContain('(HTTP 401)')
  const file = await fileOfTest('token', `${await tokenFor('root', { mesh: ['admin', 'discover'] })}\n`)
  const { code, output } = await runNode([...args, '--token-file', file])
  expect(code).toBe(0)
  expect(output).toContain('Agents: 0')
})
