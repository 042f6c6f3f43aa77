import { get } from 'node:http'
import { connect } from 'node:net'
import { Redis } from 'ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Settings } from '../../src/config.ts'
import { type HubServer, startHub } from '../../src/server.ts'
import { bearer, joinAs, withSecret } from '../support/authentication.ts'
import { CORES, startMesh, startTestHub, type CoreKind } from '../support/hubs.ts'
import { startRedis } from '../support/redis.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { keyPair, signed, tokenFor, type TokenFields } from '../support/tokens.ts'

async function startClosed(core: CoreKind, settings: Partial<Settings> = {}): Promise<HubServer> {
  const hub = await startTestHub(core, { ...(await withSecret()), ...settings })
  onTestFinished(() => hub.close())
  return hub
}

const basic = (userAndPassword: string) => ({
  authorization: `Basic ${Buffer.from(userAndPassword).toString('base64')}`,
})

/** A member as it comes when it was told to join `TOKEN@host`. */
const memberOf = async (
  hub: Pick<HubServer, 'httpUrl'>,
  sub: string,
  fields: TokenFields = {},
): Promise<MeshClient> => new MeshClient(hub, basic(`${await tokenFor(sub, fields)}:`))

const REGISTRATION = {
  instance_id: 'host-1',
  hostname: 'h',
  port: 1,
  capabilities: ['query'],
  agent_profiles: [],
}
const REQUESTS = [
  ['POST', '/registry/register', REGISTRATION],
  ['GET', '/registry/agents', undefined],
  ['POST', '/registry/heartbeat/host-1', { status: 'ok', metrics: null }],
  ['DELETE', '/registry/deregister/host-1', undefined],
  ['POST', '/messages/send/host-1', { target_instance: null, message_type: 'Query', payload: 1 }],
  ['GET', '/messages/host-1', undefined],
  ['POST', '/messages/ack/host-1', { message_ids: [] }],
  ['POST', '/messages/host-1/ack', { message_ids: [] }],
] as const

describe('without a token that counts', () => {
  it.each(REQUESTS)('%s %s is answered 401', async (method, path, body) => {
    const hub = await startClosed('memory')
    for (const headers of [
      {},
      bearer('nonsense'),
      basic('nonsense:'),
      basic('a:b'),
      { authorization: 'x' },
    ]) {
      const {
        status,
        text,
        headers: answered,
      } = await new MeshClient(hub, headers).request(method, path, body)
      expect([status, answered.get('www-authenticate')]).toEqual([401, 'Bearer'])
      expect(answered.get('content-type')).toBe('application/json')
      expect(text).toMatch(/^\{"code":"unauthorized","error":".+"\}$/)
    }
    expect(await (await memberOf(hub, 'admin')).list()).toMatchObject({ instances: [] })
  })

  it('nothing but /health and /ready is answered, what is not served and wrong methods neither', async () => {
    const hub = await startClosed('memory')
    const anybody = new MeshClient(hub)
    for (const path of ['/nothing', '/registry/nothing', '/messages/', '/metrics', '/registry/register'])
      expect((await anybody.request('GET', path)).status).toBe(401)
    for (const path of ['/health', '/ready']) expect((await anybody.request('GET', path)).status).toBe(200)
  })

  it('is answered before the body is read', async () => {
    const hub = await startClosed('memory')
    const socket = connect(hub.port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write(
      'POST /registry/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{',
    )
    const text = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data))))
    expect(text).toMatch(/^HTTP\/1\.1 401 /)
  })

  it('an expired one is refused, and an issuer that cannot be reached is no refusal', async () => {
    const hub = await startClosed('memory')
    const late = new MeshClient(hub, bearer(await tokenFor('a', { expiresIn: -60 })))
    expect((await late.request('GET', '/registry/agents')).status).toBe(401)
    const away = await startTestHub('memory', { jwksUrl: 'http://127.0.0.1:1/keys' })
    onTestFinished(() => away.close())
    const { privateKey } = await keyPair('ES256')
    const asking = new MeshClient(away, bearer(await signed(privateKey, { alg: 'ES256' })))
    const { status, json, headers } = await asking.request('GET', '/registry/agents')
    expect([status, json]).toMatchObject([503, { code: 'internal' }])
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  })
})

describe.each(CORES)('members with tokens on %s', (core) => {
  it('register, beat, send, read, acknowledge and leave, by Basic and by Bearer', async () => {
    const hub = await startClosed(core)
    const fields = { mesh: ['register:host-*', 'serve', 'send', 'discover'] }
    const ann = await memberOf(hub, 'ann', fields)
    const ben = new MeshClient(hub, bearer(await tokenFor('ben', fields)))
    await ann.register('host-1')
    await ben.register('host-2')
    expect((await ann.beat('host-1')).status).toBe(200)
    const { message_id: id } = await ann.send('host-1', 'host-2', 'hello')
    expect(await ben.payloads('host-2')).toEqual(['hello'])
    await ben.acknowledge('host-2', [id])
    expect(await ben.messages('host-2')).toEqual([])
    expect((await ben.deregister('host-2')).status).toBe(204)
  })

  it('act for no id that another principal registered, on any hub', async () => {
    await using mesh = await startMesh(core, 2, await withSecret())
    const ann = await memberOf(mesh.hub(0), 'ann')
    await ann.register('host-1')
    await ann.send('ann', 'host-1', 'secret')
    const mallory = await memberOf(mesh.hub(1), 'mallory')
    for (const [method, path, body] of REQUESTS) {
      if (path === '/registry/agents') continue
      const { status, json } = await mallory.request(method, path, body)
      expect([method, path, status, json]).toMatchObject([method, path, 403, { code: 'forbidden' }])
    }
    // Her own subject's other agents are others' as well, if another registered them.
    const second = await memberOf(mesh.hub(1), 'ann')
    expect((await second.beat('host-1')).json).toMatchObject({ acknowledged: true })
    expect(await second.payloads('host-1')).toEqual(['secret'])
    expect(await ann.ids()).toEqual(['host-1'])
  })

  it('speak for ids that nobody has only where these are their own', async () => {
    const hub = await startClosed(core)
    const ann = await memberOf(hub, 'ann')
    await ann.register('host-1')
    for (const source of ['ann', 'ann:1', 'host-1']) await ann.send(source, 'host-1', source)
    for (const source of ['anna', 'ben', 'host-2']) {
      const body = { target_instance: 'host-1', message_type: 'Query', payload: null }
      expect((await ann.request('POST', `/messages/send/${source}`, body)).status).toBe(403)
    }
    expect(await ann.payloads('host-1')).toEqual(['ann', 'ann:1', 'host-1'])
  })

  it('do nothing for agents with a connection, their own included', async () => {
    const hub = await startClosed(core)
    await using _agent = await joinAs(hub, 'ann')
    const ann = await memberOf(hub, 'ann')
    const body = { target_instance: null, message_type: 'Query', payload: null }
    expect((await ann.request('POST', '/messages/send/ann', body)).status).toBe(403)
    expect((await ann.beat('ann')).status).toBe(404)
    expect((await ann.deregister('ann')).status).toBe(404)
    expect(
      (await ann.request('POST', '/registry/register', { ...REGISTRATION, instance_id: 'ann' })).status,
    ).toBe(409)
  })

  it('an id that was registered here is its principal’s at the other doors too', async () => {
    const hub = await startClosed(core)
    await (await memberOf(hub, 'ann')).register('ben')
    await expect(joinAs(hub, 'cid', {}, { id: 'ben' })).rejects.toThrow('not for "cid"')
    const cid = await memberOf(hub, 'cid')
    const register = { ...REGISTRATION, instance_id: 'ben' }
    expect((await cid.request('POST', '/registry/register', register)).status).toBe(403)
  })

  it('an id that is another’s subject goes to that one when it comes, by either door, with what waits for it', async () => {
    const mesh = await startMesh(core, 2, await withSecret())
    onTestFinished(() => mesh[Symbol.asyncDispose]())
    const ann = await memberOf(mesh.hub(0), 'ann')
    await ann.register('me')
    for (const id of ['ben', 'cid:1']) await ann.register(id)
    await ann.send('me', 'ben', 'for ben')
    await using ben = await joinAs(mesh.hub(1), 'ben')
    expect(await ben.next('message')).toMatchObject({ from: 'me', payload: 'for ben' })
    const cid = await memberOf(mesh.hub(1), 'cid')
    await cid.register('cid:1')
    for (const id of ['ben', 'cid:1']) {
      const register = { ...REGISTRATION, instance_id: id }
      expect((await ann.request('POST', '/registry/register', register)).status).toBe(403)
      expect((await ann.beat(id)).status).toBe(id === 'ben' ? 404 : 403)
    }
    expect((await ann.request('GET', '/messages/cid:1')).status).toBe(403)
  })

  it('need a permission for what they do', async () => {
    const hub = await startClosed(core)
    const full = await memberOf(hub, 'full')
    await full.register('target')
    const may = async (mesh: readonly string[], method: string, path: string, body?: object) =>
      (await (await memberOf(hub, 'ann', { mesh })).request(method, path, body)).status
    const register = ['POST', '/registry/register', REGISTRATION] as const
    expect(await may(['register:host-1'], ...register)).toBe(403)
    expect(await may(['serve', 'register:host-2'], ...register)).toBe(403)
    expect(await may(['register:host-1', 'serve:other'], ...register)).toBe(403)
    expect(await may(['register:host-1', 'serve:query'], ...register)).toBe(200)
    expect(await may(['watch', 'admin'], 'GET', '/registry/agents')).toBe(403)
    expect(await may(['discover'], 'GET', '/registry/agents')).toBe(200)
    const send = ['POST', '/messages/send/ann'] as const
    const to = { target_instance: 'target', message_type: 'Query', payload: 1 }
    const all = { ...to, target_instance: null }
    expect(await may(['send:other', 'broadcast'], ...send, to)).toBe(403)
    expect(await may(['send:target'], ...send, to)).toBe(200)
    expect(await may(['send', 'broadcast:eu'], ...send, all)).toBe(403)
    expect(await may(['broadcast:role=all'], ...send, all)).toBe(200)
    const beat = ['POST', '/registry/heartbeat/host-1', { status: 'ok', metrics: null }] as const
    expect(await may([], ...beat)).toBe(403)
    expect(await may(['register:host-*'], ...beat)).toBe(200)
  })

  it('lead only where they may, and see others only where they may', async () => {
    const hub = await startClosed(core)
    const ann = await memberOf(hub, 'ann', { mesh: ['register', 'serve'] })
    const alone = { is_leader: false, leader_id: null, peers: [{ instance_id: 'm1', is_leader: false }] }
    expect(await ann.register('m1')).toMatchObject(alone)
    const ben = await memberOf(hub, 'ben', { mesh: ['register', 'serve', 'lead', 'discover'] })
    expect(await ben.register('m2')).toMatchObject({ is_leader: true, leader_id: 'm2' })
    const again = await ann.register('m1')
    expect(again).toMatchObject({ is_leader: false, leader_id: 'm2' })
    expect(again.peers.map((one) => one.instance_id)).toEqual(['m1'])
    expect(await ben.ids()).toEqual(['m1', 'm2'])
  })

  it('come into the namespace of this door only with a token for it', async () => {
    const hub = await startClosed(core, { httpNamespace: 'staging' })
    const ann = await memberOf(hub, 'ann')
    const { status, json } = await ann.request('GET', '/registry/agents')
    expect([status, json]).toMatchObject([403, { code: 'forbidden' }])
    const ben = await memberOf(hub, 'ben', { ns: 'staging' })
    await ben.register('m1')
    expect(await ben.ids()).toEqual(['m1'])
  })
})

describe('whose a member is', () => {
  it('is known where the store has lost it', async () => {
    await using redis = await startRedis()
    const settings = { ...(await withSecret()), redisUrl: redis.url }
    await using hub = await startHub({ port: 0, logLevel: 'silent', ...settings })
    const ann = await memberOf(hub, 'ann')
    const mallory = await memberOf(hub, 'mallory')
    for (const id of ['m1', 'm2', 'm3']) await ann.register(id)
    const raw = new Redis(redis.url)
    await raw.flushall()
    raw.disconnect()
    await expect.poll(async () => (await ann.beat('m1')).status, { timeout: 5_000 }).toBe(200)
    const register = { ...REGISTRATION, instance_id: 'm2' }
    expect((await mallory.request('POST', '/registry/register', register)).status).toBe(403)
    expect((await mallory.beat('m2')).status).toBe(403)
    expect((await mallory.deregister('m3')).status).toBe(403)
    for (const id of ['m2', 'm3']) expect((await ann.beat(id)).status).toBe(200)
    expect((await mallory.beat('m2')).status).toBe(403)
  })
})

describe('metrics', () => {
  it('take a token with admin, and for every namespace, while authentication is on', async () => {
    const hub = await startClosed('memory')
    const asked = async (mesh: unknown, ns: unknown = '*') =>
      (
        await new MeshClient(hub, bearer(await tokenFor('prometheus', { mesh, ns }))).request(
          'GET',
          '/metrics',
        )
      ).status
    expect((await new MeshClient(hub).request('GET', '/metrics')).status).toBe(401)
    expect(await asked(['watch', 'discover', 'send', 'register'])).toBe(403)
    expect(await asked(['admin:default'])).toBe(403)
    expect(await asked(['admin'])).toBe(200)
    // Who administers one namespace is told of no other.
    for (const ns of [undefined, 'default', ['default', 'staging-*']])
      expect(await asked(['*'], ns ?? null)).toBe(403)
  })

  it('are told by whatever name the hub was found, and to no page of another origin', async () => {
    const hub = await startTestHub('memory')
    onTestFinished(() => hub.close())
    const statusOf = async (path: string, headers: Record<string, string>) =>
      new Promise<number>((resolve, reject) => {
        get({ port: hub.port, path, headers }, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        }).on('error', reject)
      })
    expect(await statusOf('/metrics', { host: '10.1.2.3:7171' })).toBe(200)
    expect(await statusOf('/registry/agents', { host: '10.1.2.3:7171' })).toBe(403)
    expect(await statusOf('/metrics', { host: 'localhost', origin: 'http://evil.example' })).toBe(403)
  })
})
