import { connect } from 'node:net'
import { once } from 'node:events'
import { text as textOf } from 'node:stream/consumers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MeshError } from '../../protocol/errors.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { createApp } from '../../src/http/app.ts'
import type { Pass } from '../../src/http/routes/api/authorize.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { createMemoryCore, VERSION } from '../../src/server.ts'
import { Api, json } from '../support/api.ts'
import { startTestHub } from '../support/hubs.ts'
import { join } from '../support/talk.ts'

test('what is not there is 404, and what is there with other methods 405', async () => {
  await using hub = await startTestHub('memory')
  const api = new Api(hub)
  for (const path of ['', '/', '/nothing', '/agents/a/b', '/openapi', '/AGENTS'])
    expect([path, await api.refused('GET', path)]).toMatchObject([path, { status: 404, retryable: false }])
  const post = await api.refused('POST', '/agents')
  expect(post).toMatchObject({ status: 405, code: 'method_not_allowed' })
  expect(post.headers.get('allow')).toBe('GET')
  const put = await api.refused('PUT', '/agents/x', json({}))
  expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, DELETE'])
})

test('a parameter against a rule is named, with what there is', async () => {
  await using hub = await startTestHub('memory')
  const api = new Api(hub)
  for (const [query, text] of [
    ['?capabilities=x', 'parameter "capabilities" is unknown; there are namespace, capability,'],
    ['?constructor=x', 'parameter "constructor" is unknown'],
    ['?__proto__=x', 'parameter "__proto__" is unknown'],
    ['?namespace=a&namespace=b', 'parameter "namespace" is given more than once'],
    ['?namespace=Not%20One', 'namespace is "Not One"; must be 1 to 64 of a-z 0-9 -'],
    ['?limit=0', 'limit is "0"'],
    ['?limit=', 'limit is ""'],
    ['?limit=1e9', 'limit is "1e9"'],
    ['?status=asleep', 'status.0 is "asleep"'],
    ['?version=not-a-range!', 'is no npm semver range'],
    ['?cursor=!!!', 'is none that this mesh gave'],
    ['?metadata=x', 'parameter "metadata" is unknown'],
    ['?name[x]=y', 'parameter "name[x]" is unknown'],
    [`?name=${'x'.repeat(257)}`, 'name is "xxx'],
  ] as const) {
    const refused = await api.refused('GET', `/agents${query}`)
    expect([query, refused]).toMatchObject([query, { status: 400, code: 'bad_request' }])
    expect(refused.message).toContain(text)
    expect(refused.remedy).not.toBe('')
  }
})

test('a body has to be JSON, and be said to be', async () => {
  await using hub = await startTestHub('memory', { maxMessageBytes: 8_192 })
  const api = new Api(hub)
  const send = (init: RequestInit) => api.refused('POST', '/messages', init)
  expect(await send({ body: '{}', headers: { 'content-type': 'text/plain' } })).toMatchObject({ status: 415 })
  expect(await send({ body: '{}', headers: { 'content-type': 'x' } })).toMatchObject({ status: 415 })
  expect(await send({})).toMatchObject({ status: 422 })
  expect(await send(json(''))).toMatchObject({ status: 422 })
  expect(await send(json('{"a"'))).toMatchObject({ status: 400 })
  expect(await send(json('"'.padEnd(9_000)))).toMatchObject({ status: 413, code: 'payload_too_large' })
  expect(
    await send(json(`{"to":{"all":true},"messageType":"x","payload":${'['.repeat(200)}${']'.repeat(200)}}`)),
  ).toMatchObject({
    status: 422,
    message: expect.stringContaining('nests deeper'),
  })
})

test('URLs that are none are answered like other faults', async () => {
  await using hub = await startTestHub('memory')
  const api = new Api(hub)
  expect(await api.refused('GET', '/agents/%ZZ')).toMatchObject({ status: 400, code: 'bad_request' })
  expect(await api.refused('GET', `/agents/${'x'.repeat(3_000)}`)).toMatchObject({ status: 400 })
  expect(await api.refused('GET', `/agents/${'x'.repeat(300)}`)).toMatchObject({ status: 400 })
})

const PASS: Pass = { until: null, again: () => PASS }

describe('authorization', () => {
  test('is asked of every operation but the document, with what it is about', async () => {
    const settings = parseSettings({ logLevel: 'silent' })
    const core = createMemoryCore({ limits: settings })
    const hub = new Hub({ core, settings, log: createLog('silent') })
    const asked: string[] = []
    const app = createApp(hub, VERSION, {
      api: {
        authorize: async (request, verb, { kind, value, namespace }) => {
          asked.push(`${verb} ${kind}=${value} in ${namespace}`)
          if (request.headers.authorization === undefined)
            throw new MeshError('unauthorized', 'a token is needed')
          throw new MeshError('forbidden', 'this principal may not do that')
        },
      },
    })
    await hub.start()
    const api = new Api(await app.listen({ host: '127.0.0.1', port: 0 }))
    const send = (to: object, more: object = {}) =>
      ['POST', '/messages?namespace=n', { to, messageType: 'x', ...more }] as const
    for (const [method, path, body, expected] of [
      ['GET', '/agents?namespace=n', null, 'discover namespace=n in n'],
      ['GET', '/agents/a', null, 'discover namespace=default in default'],
      ['DELETE', '/agents/a?namespace=n', null, 'admin namespace=n in n'],
      ['GET', '/agents/a/inbox?namespace=n', null, 'admin namespace=n in n'],
      ['GET', '/dead-letters?namespace=n', null, 'admin namespace=n in n'],
      ['POST', '/dead-letters/redrive?namespace=n', { where: {} }, 'admin namespace=n in n'],
      ['POST', '/dead-letters/purge?namespace=n', { where: {} }, 'admin namespace=n in n'],
      ['GET', '/queues?namespace=n', null, 'admin namespace=n in n'],
      ['GET', '/hubs', null, 'admin namespace=* in *'],
      ['GET', '/hubs?namespace=n', null, 'admin namespace=n in n'],
      ['GET', '/namespaces', null, 'admin namespace=* in *'],
      ['GET', '/leader?namespace=n', null, 'discover namespace=n in n'],
      ['GET', '/events?namespace=n', null, 'watch namespace=n in n'],
      [...send({ agent: 'a' }), 'send agent=a in n'],
      [...send({ name: 'a' }), 'send name=a in n'],
      [...send({ leader: true }), 'send role=leader in n'],
      [...send({ capability: 'c' }), 'send capability=c in n'],
      [...send({ capability: 'c', mode: 'all' }), 'broadcast capability=c in n'],
      [...send({ group: 'g' }), 'broadcast group=g in n'],
      [...send({ all: true }), 'broadcast role=all in n'],
    ] as const) {
      const init = body === null ? {} : json(body)
      const anonymous = await api.refused(method, path, init)
      expect([path, anonymous]).toMatchObject([path, { status: 401, code: 'unauthorized' }])
      expect(anonymous.headers.get('www-authenticate')).toBe('Bearer')
      const type = body === null ? {} : { 'content-type': 'application/json' }
      const headers = { ...type, authorization: 'Bearer x' }
      expect([path, await api.refused(method, path, { ...init, headers })]).toMatchObject([
        path,
        { status: 403, code: 'forbidden' },
      ])
      expect(asked.splice(0)).toEqual([expected, expected])
    }
    expect([...hub.namespaces]).toEqual([])
    await app.close()
    await hub.close()
    await core.close()
  })

  test('of a message in the name of another also asks for that name', async () => {
    const settings = parseSettings({ logLevel: 'silent' })
    const core = createMemoryCore({ limits: settings })
    const hub = new Hub({ core, settings, log: createLog('silent') })
    const asked: string[] = []
    const app = createApp(hub, VERSION, {
      api: {
        authorize: async (_request, verb, { kind, value }) => {
          asked.push(`${verb} ${kind}=${value}`)
          return PASS
        },
      },
    })
    await hub.start()
    const api = new Api(await app.listen({ host: '127.0.0.1', port: 0 }))
    await api.post('/messages', { to: { all: true }, messageType: 'x', from: 'bot' })
    await api.post('/messages', { to: { all: true }, messageType: 'x' })
    expect(asked).toEqual(['broadcast role=all', 'register agent=bot', 'broadcast role=all'])
    await app.close()
    await hub.close()
    await core.close()
  })
})

/** Without halves of surrogate pairs, which no URL can have. */
const whole = (text: string): string => Buffer.from(text).toString()

describe('whatever is asked', () => {
  const word = fc.oneof(
    fc.constantFrom(
      'namespace',
      'capability',
      'status',
      'limit',
      'cursor',
      'version',
      'metadata[a]',
      'name',
      'group',
    ),
    fc.constantFrom(
      'metadata[__proto__]',
      'metadata[',
      'constructor',
      '__proto__',
      'events',
      'payload',
      'toString',
    ),
    fc.string({ maxLength: 12 }),
  )
  const value = fc.oneof(
    fc.constantFrom(
      'online',
      '1',
      '-1',
      '1e400',
      '^1.2',
      '>=1 <'.repeat(20),
      '%',
      '%E0%A4',
      '\ud800',
      'null',
      'x'.repeat(300),
    ),
    fc.string({ unit: 'binary', maxLength: 20 }),
  )
  const query = fc.array(fc.tuple(word, value, fc.boolean()), { maxLength: 5 }).map((pairs) =>
    pairs
      .map(([key, one, raw]) =>
        // As careless clients write it, too: whatever may stand in the first line of a request.
        raw
          ? `${key}=${one}`.replaceAll(/[^\u0021-\u007e]|#/g, '')
          : `${encodeURIComponent(whole(key))}=${encodeURIComponent(whole(one))}`,
      )
      .join('&'),
  )
  const PATHS = [
    '/agents',
    '/agents/a',
    '/agents/a/inbox',
    '/dead-letters',
    '/queues',
    '/hubs',
    '/leader',
    '/namespaces',
    '/openapi.json',
    '/nothing',
  ]

  /** As it is written: `fetch` would mend it. */
  async function rawGet(port: number, target: string): Promise<{ status: number; body: string }> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    const answer = await textOf(socket)
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    return { status: Number(head.split(' ')[1]), body }
  }

  test('by any parameters, is answered, and never by 500', async () => {
    await using hub = await startTestHub('memory')
    await using _ = await join(hub, 'a')
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...PATHS), query, async (path, parameters) => {
        const { status, body } = await rawGet(hub.port, `/api/v1${path}?${parameters}`)
        expect([200, 400, 404]).toContain(status)
        if (status !== 200) expect(JSON.parse(body)).toMatchObject({ error: { code: expect.any(String) } })
      }),
      { numRuns: 250 },
    )
  })

  test('by any path, is answered, and never by 500', async () => {
    await using hub = await startTestHub('memory')
    const segment = fc.oneof(
      fc.constantFrom('agents', 'inbox', '..', '%2e%2e', '%00', '%ff', 'a'),
      fc.string({ maxLength: 8 }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { maxLength: 4 }), async (segments) => {
        const path = segments.join('/').replaceAll(/[^\u0021-\u007e]|#/g, '')
        const { status } = await rawGet(hub.port, `/api/v1/${path}`)
        expect([200, 400, 404]).toContain(status)
      }),
      { numRuns: 200 },
    )
  })

  test('with any body, is answered, and never by 500', async () => {
    await using hub = await startTestHub('memory')
    const api = new Api(hub)
    const target = fc.record(
      {
        agent: fc.oneof(fc.string(), fc.constant(null), fc.integer()),
        name: fc.string(),
        leader: fc.boolean(),
        capability: fc.string({ unit: 'binary' }),
        mode: fc.constantFrom('one', 'all', 'x'),
        group: fc.string(),
        all: fc.constant(true),
      },
      { requiredKeys: [] },
    )
    const body = fc.oneof(
      fc.json(),
      fc.string(),
      fc
        .record(
          {
            to: fc.oneof(target, fc.jsonValue()),
            messageType: fc.oneof(fc.constant('x'), fc.string()),
            payload: fc.jsonValue(),
            from: fc.oneof(fc.string(), fc.constant('http')),
            ttlMs: fc.oneof(fc.integer(), fc.double()),
            ifNone: fc.constantFrom('keep', 'fail', null),
            positions: fc.array(fc.string()),
            where: fc.dictionary(fc.constantFrom('reason', 'from', 'x', '__proto__'), fc.jsonValue()),
          },
          { requiredKeys: [] },
        )
        .map((one) => JSON.stringify(one)),
    )
    const paths = fc.constantFrom('/messages', '/dead-letters/redrive', '/dead-letters/purge')
    await fc.assert(
      fc.asyncProperty(paths, body, async (path, text) => {
        const { status } = await api.request('POST', path, json(text))
        expect([200, 202, 400, 404, 409, 422]).toContain(status)
      }),
      { numRuns: 250 },
    )
  })
})
