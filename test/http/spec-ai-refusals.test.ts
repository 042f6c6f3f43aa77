import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createMemoryCore, type Core } from '../../src/server.ts'
import { connectAgent } from '../support/agent.ts'
import { CORE_LIMITS } from '../support/core.ts'
import { startMesh, startTestHub } from '../support/hubs.ts'
import { MeshClient } from '../support/spec-ai.ts'

const REGISTER = '/registry/register'
const good = { instance_id: 'm1', hostname: 'h', port: 7, capabilities: ['query'], agent_profiles: ['p'] }
const text = (more: object = {}): string => JSON.stringify({ ...good, ...more })
const without = (name: string): object =>
  Object.fromEntries(Object.entries(good).filter(([key]) => key !== name))

const SYNTAX = 'Failed to parse the request body as JSON: '
const DATA = 'Failed to deserialize the JSON body into the target type: '
const arrays = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

async function start() {
  const hub = await startTestHub('memory')
  return { hub, client: new MeshClient(hub) }
}

describe('a body that is not declared as JSON is 415', () => {
  test.each([
    'text/plain',
    'application/jsonx',
    'application/x-www-form-urlencoded',
    'json',
    'text/json',
    '',
  ])('as %j', async (type) => {
    const { hub, client } = await start()
    await using _ = hub
    const answer = await client.request(
      'POST',
      REGISTER,
      new TextEncoder().encode(text()),
      type === '' ? {} : { 'content-type': type },
    )
    expect(answer.status).toBe(415)
    expect(answer.text).toMatch(/^Expected request with `Content-Type: application\/json`/)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
  })

  test('without a body or a type', async () => {
    const { hub, client } = await start()
    await using _ = hub
    for (const path of [
      REGISTER,
      '/registry/heartbeat/x',
      '/messages/send/x',
      '/messages/ack/x',
      '/messages/x/ack',
    ])
      expect((await client.request('POST', path)).status, path).toBe(415)
  })

  test.each([
    'application/json; charset=utf-8',
    'application/vnd.api+json',
    'APPLICATION/JSON',
    'application/json;x=y',
  ])('%j is JSON', async (type) => {
    const { hub, client } = await start()
    await using _ = hub
    expect((await client.request('POST', REGISTER, text(), { 'content-type': type })).status).toBe(200)
  })
})

describe('a body that is no JSON is 400', () => {
  test.each([
    ['empty', ''],
    ['cut off', '{"instance_id":"m1"'],
    ['followed by more', `${text()} x`],
    ['two values', `${text()}${text()}`],
    ['a trailing comma', '{"instance_id":"m1",}'],
    ['with single quotes', "{'instance_id':'m1'}"],
    ['a comment', `/* */${text()}`],
    ['a number with a leading zero', '{"port":01}'],
    ['a number that ends in a point', '{"port":1.}'],
    ['NaN', '{"port":NaN}'],
    ['a control character in a string', '{"instance_id":"a\nb"}'],
    ['an unknown escape', '{"instance_id":"\\x41"}'],
    ['half a surrogate pair', '{"instance_id":"\\ud800"}'],
    ['the other half', '{"instance_id":"\\udc00"}'],
    ['two first halves', '{"instance_id":"\\ud800\\ud800"}'],
    ['a number out of range', `{"message_type":"Query","payload":1e999}`],
    ['deeper than 128 levels', `{"message_type":"Query","payload":${arrays(129)}}`],
    ['very deep', arrays(500_000)],
    ['with a byte order mark', `\ufeff${text()}`],
  ])('%s', async (_what, body) => {
    const { hub, client } = await start()
    await using _ = hub
    const path = body.includes('message_type') ? '/messages/send/x' : REGISTER
    const answer = await client.request('POST', path, body)
    expect(answer.text.startsWith(SYNTAX), answer.text).toBe(true)
    expect(answer.status).toBe(400)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
  })

  test('where it is not UTF-8', async () => {
    const { hub, client } = await start()
    await using _ = hub
    const bytes = Buffer.concat([Buffer.from('{"instance_id":"'), Buffer.of(0xff), Buffer.from('"}')])
    const answer = await client.request('POST', REGISTER, bytes)
    expect([answer.status, answer.text.startsWith(SYNTAX)]).toEqual([400, true])
  })
})

describe('JSON that does not fit is 422 and names the field', () => {
  const ports = ['-1', '65536', '1.5', '1.0', '"80"', 'null', 'true', '1e2', '99999999999999999999'].map(
    (port) => [`port ${port}`, REGISTER, text().replace('"port":7', `"port":${port}`), 'port'] as const,
  )
  const missing = Object.keys(good).map(
    (name) => [`no ${name}`, REGISTER, JSON.stringify(without(name)), `missing field \`${name}\``] as const,
  )
  const send = (more: string): string => `{"message_type":"Query","payload":1${more}}`
  const types = [
    '"query"',
    '"Custom"',
    '{"Custom":5}',
    '{"Custom":null}',
    '{"Query":1}',
    '{}',
    '5',
    'null',
    '["Query"]',
    '"QUERY"',
    '{"Nope":null}',
    '{"Query":null,"Response":null}',
  ].map(
    (type) =>
      [
        `message_type ${type}`,
        '/messages/send/x',
        `{"message_type":${type},"payload":1}`,
        'message_type',
      ] as const,
  )
  test.each<readonly [what: string, path: string, body: string, named: string]>([
    ...ports,
    ...missing,
    ...types,
    ['instance_id is a number', REGISTER, text({ instance_id: 1 }), 'instance_id'],
    ['instance_id is null', REGISTER, text({ instance_id: null }), 'instance_id'],
    ['capabilities is a string', REGISTER, text({ capabilities: 'x' }), 'capabilities'],
    ['a capability is a number', REGISTER, text({ capabilities: [1] }), 'capabilities'],
    ['agent_profiles is an object', REGISTER, text({ agent_profiles: {} }), 'agent_profiles'],
    ['more than 20 capabilities', REGISTER, text({ capabilities: Array(21).fill('x') }), 'capabilities'],
    ['a field twice', REGISTER, text().replace('"port":7', '"port":7,"port":7'), 'duplicate field `port`'],
    ['a string', REGISTER, '"x"', 'invalid type'],
    ['null', REGISTER, 'null', 'invalid type'],
    ['too short a sequence', REGISTER, '["id","h",7,[]]', 'invalid length 4'],
    ['too long a sequence', REGISTER, '["id","h",7,[],[],1]', 'invalid length 6'],
    ['no status', '/registry/heartbeat/x', '{}', 'missing field `status`'],
    ['status is null', '/registry/heartbeat/x', '{"status":null}', 'status'],
    ['metrics is a list', '/registry/heartbeat/x', '{"status":"","metrics":[]}', 'metrics'],
    ['no payload', '/messages/send/x', '{"message_type":"Query"}', 'missing field `payload`'],
    ['no message_type', '/messages/send/x', '{"payload":1}', 'missing field `message_type`'],
    ['target is a number', '/messages/send/x', send(',"target_instance":5'), 'target_instance'],
    ['correlation is an object', '/messages/send/x', send(',"correlation_id":{}'), 'correlation_id'],
    ['payload twice', '/messages/send/x', send(',"payload":2'), 'duplicate field `payload`'],
    ['no message_ids', '/messages/ack/x', '{}', 'missing field `message_ids`'],
    ['message_ids of numbers', '/messages/x/ack', '{"message_ids":[1]}', 'message_ids'],
  ])('%s', async (_what, path, body, named) => {
    const { hub, client } = await start()
    await using _ = hub
    const answer = await client.request('POST', path, body)
    expect(answer.status, answer.text).toBe(422)
    expect(answer.text.startsWith(DATA)).toBe(true)
    expect(answer.text).toContain(named)
    expect(await client.ids()).toEqual([])
  })
})

describe('what serde takes is taken', () => {
  test('a sequence in the order of the fields', async () => {
    const { hub, client } = await start()
    await using _ = hub
    const { status, json } = await client.request('POST', REGISTER, '["id","h",7,[],[]]')
    expect([status, json]).toMatchObject([200, { instance_id: 'id', peers: [{ hostname: 'h', port: 7 }] }])
  })

  test('unknown fields, even doubled', async () => {
    const { hub, client } = await start()
    await using _ = hub
    expect((await client.request('POST', REGISTER, `${text().slice(0, -1)},"x":1,"x":{}}`)).status).toBe(200)
  })

  test('a unit with null, and space around everything', async () => {
    const { hub, client } = await start()
    await using _ = hub
    await client.register('m1')
    const body = ' {\n"message_type" : {"Query" : null },\t"payload":[ 1 , { } ] }\r\n'
    expect((await client.request('POST', '/messages/send/x', body)).status).toBe(200)
    expect(await client.messages('m1')).toMatchObject([{ message_type: 'Query', payload: [1, {}] }])
  })

  test('127 levels', async () => {
    const { hub, client } = await start()
    await using _ = hub
    await client.register('m1')
    const body = `{"message_type":"Query","payload":${arrays(126)}}`
    expect((await client.request('POST', '/messages/send/x', body)).status).toBe(200)
  })
})

describe('a body over 2 MiB is 413', () => {
  const big = (bytes: number): string => {
    const frame = '{"message_type":"Query","target_instance":"m1","payload":""}'
    return frame.replace('""}', `"${'x'.repeat(bytes - frame.length)}"}`)
  }

  test('and one of 2 MiB is not', async () => {
    const { hub, client } = await start()
    await using _ = hub
    await client.register('m1')
    expect((await client.request('POST', '/messages/send/x', big(2_097_152))).status).toBe(200)
    const answer = await client.request('POST', '/messages/send/x', big(2_097_153))
    expect([answer.status, answer.text]).toEqual([
      413,
      'Failed to buffer the request body: length limit exceeded',
    ])
    const other = await client.request('POST', '/messages/send/x', big(2_097_153), {
      'content-type': 'text/plain',
    })
    expect(other.status).toBe(415)
    expect(await client.messages('m1')).toHaveLength(1)
  })

  test('also where its length is not told', async () => {
    const { hub } = await start()
    await using _ = hub
    const status = await new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
      const request = httpRequest(
        `${hub.httpUrl}/messages/send/x`,
        { method: 'POST', headers },
        (response) => {
          response.resume()
          resolve(response.statusCode)
        },
      )
      request.on('error', reject)
      request.end(big(2_500_000))
    })
    expect(status).toBe(413)
  })

  test('a message that no frame could bring to agents with a connection is 413', async () => {
    const { hub, client } = await start()
    await using _ = hub
    await client.register('m1')
    const body = { message_type: 'Query', payload: 'x'.repeat(1_100_000) }
    const send = async (target: string | null): Promise<number> =>
      (await client.request('POST', '/messages/send/x', { ...body, target_instance: target })).status
    // Who holds none reads it in an answer.
    expect([await send(null), await send('m1'), await send('ws')]).toEqual([200, 200, 400])
    const bodies = (await client.messages('m1')).map(({ payload }) => (payload as string).length)
    expect(bodies).toEqual([1_100_000, 1_100_000])
    const ws = await connectAgent(hub, { id: 'ws' })
    expect([await send(null), await send('m1'), await send('ws')]).toEqual([413, 200, 413])
    await ws.request({ type: 'bye', keep: true })
    expect([await send(null), await send('m1'), await send('ws')]).toEqual([413, 200, 413])
  })
})

describe('paths and methods', () => {
  const KNOWN = [
    [REGISTER, 'POST'],
    ['/registry/agents', 'GET'],
    ['/registry/heartbeat/x', 'POST'],
    ['/registry/deregister/x', 'DELETE'],
    ['/messages/send/x', 'POST'],
    ['/messages/x', 'GET'],
    ['/messages/ack/x', 'POST'],
    ['/messages/x/ack', 'POST'],
    ['/health', 'GET'],
  ] as const

  test.each(KNOWN)('%s with another method is 405, allows %s, and is empty', async (path, method) => {
    const { hub, client } = await start()
    await using _ = hub
    for (const other of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'LOCK']) {
      if (other === method) continue
      const { status, headers, text: body } = await client.request(other, path)
      expect([other, status, body]).toEqual([other, 405, ''])
      expect(headers.get('allow')?.split(',')).toContain(method)
    }
  })

  test.each([
    '/',
    '/registry',
    '/registry/',
    '/registry/register/',
    '/registry/agents/',
    '/registry/heartbeat',
    '/registry/heartbeat/',
    '/registry/heartbeat/x/',
    '/registry/heartbeat/x/y',
    '/registry//agents',
    '/registry/deregister/',
    '/messages',
    '/messages/',
    '/messages/send/',
    '/messages/send/x/y',
    '/messages/x/y',
    '/messages/x/ack/',
    '/messages//ack',
    '/health/',
    '/nothing',
    '/spec-ai',
  ])('%s is 404 and empty', async (path) => {
    const { hub, client } = await start()
    await using _ = hub
    for (const method of ['GET', 'POST', 'DELETE']) {
      const { status, text: body } = await client.request(method, path)
      expect([method, status, body]).toEqual([method, 404, ''])
    }
  })

  test.each([
    ['POST', '/registry/heartbeat/%ff', 'instance_id'],
    ['DELETE', '/registry/deregister/%c3%28', 'instance_id'],
    ['GET', '/messages/%80', 'instance_id'],
    ['POST', '/messages/%80/ack', 'instance_id'],
    ['POST', '/messages/send/%ed%a0%80', 'source_instance'],
  ])('%s %s is 400: no UTF-8', async (method, path, name) => {
    const { hub, client } = await start()
    await using _ = hub
    const answer = await client.request(method, path)
    expect([answer.status, answer.text]).toEqual([400, `Invalid URL: Invalid UTF-8 in \`${name}\``])
  })

  test('a query changes nothing, HEAD is GET without a body', async () => {
    const { hub, client } = await start()
    await using _ = hub
    expect((await client.request('GET', '/registry/agents?x=/y')).status).toBe(200)
    const { status, text: body } = await client.request('HEAD', '/registry/agents')
    expect([status, body]).toEqual([200, ''])
  })

  test('/messages/send/ack is a message from `ack`', async () => {
    const { hub, client } = await start()
    await using _ = hub
    await client.register('m1')
    await client.send('ack', 'm1', 1)
    expect(await client.messages('m1')).toMatchObject([{ source_instance: 'ack' }])
  })

  test('what is no HTTP ends its own connection only', async () => {
    const { hub, client } = await start()
    await using _ = hub
    const socket = connect(hub.port, '127.0.0.1')
    await new Promise((resolve) => {
      socket.on('close', resolve)
      socket.on('error', () => undefined)
      socket.end('GET /registry/\u0000 HTTP/9.9\r\n\r\n')
      socket.resume()
    })
    expect(await client.ids()).toEqual([])
  })
})

describe('where the store does not answer', () => {
  test('every call is 503 within seconds, and the list is what this hub knows', async () => {
    let dead = false
    const never = new Promise<never>(() => undefined)
    const wrap = (core: Core): Core => {
      const stall = <Port extends object>(port: Port): Port =>
        new Proxy(port, {
          get(target, name) {
            const value: unknown = Reflect.get(target, name, target)
            return typeof value === 'function'
              ? (...args: unknown[]): unknown => (dead ? never : Reflect.apply(value, target, args))
              : value
          },
        })
      return {
        ...core,
        registry: stall(core.registry),
        sends: stall(core.sends),
        inboxes: stall(core.inboxes),
      }
    }
    await using mesh = await startMesh('memory', 1, {}, wrap)
    const client = new MeshClient(mesh.hub(0))
    await client.register('m1')
    dead = true
    try {
      const began = Date.now()
      const answers = await Promise.all([
        client.request('POST', REGISTER, good),
        client.beat('m1'),
        client.deregister('m1'),
        client.request('POST', '/messages/send/m1', { message_type: 'Query', payload: 1 }),
        client.request('GET', '/messages/m1'),
        client.request('POST', '/messages/ack/m1', { message_ids: ['x'] }),
      ])
      for (const { status, json } of answers) {
        expect(status).toBe(503)
        expect(json).toMatchObject({ code: 'store_unavailable', error: expect.any(String) as string })
      }
      expect(await client.ids()).toEqual(['m1'])
      expect(Date.now() - began).toBeLessThan(8_000)
    } finally {
      dead = false
    }
  }, 15_000)

  test('a failure that is ours is 500, told without what went wrong', async () => {
    const core = createMemoryCore({ limits: CORE_LIMITS })
    const broken: Core = {
      ...core,
      inboxes: new Proxy(core.inboxes, {
        get: (target, name) =>
          name === 'peek'
            ? () => Promise.reject(new Error('secret'))
            : (Reflect.get(target, name, target) as unknown),
      }),
    }
    await using mesh = await startMesh('memory', 1, {}, () => broken)
    const client = new MeshClient(mesh.hub(0))
    const { status, text: body } = await client.request('GET', '/messages/x')
    expect(status).toBe(500)
    expect(body).not.toContain('secret')
  })
})
