import { once } from 'node:events'
import { copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { TlsFiles } from '../../src/http/tls-files.ts'
import { createLog } from '../../src/observability/log.ts'
import { startHub } from '../../src/server.ts'
import { TestSocket } from '../support/agent.ts'
import { COMMAND } from '../support/built.ts'
import { certificateIn, temporaryFolder } from '../support/certificates.ts'
import { newStore, startTestHub } from '../support/hubs.ts'
import { runNode, startNode } from '../support/run.ts'

/** What is logged, line by line. */
class Lines {
  readonly lines: string[] = []
  readonly log = {
    ...createLog('silent'),
    error: (_fields: unknown, message?: string) => void this.lines.push(`error ${message}`),
    info: (_fields: unknown, message?: string) => void this.lines.push(`info ${message}`),
    child: () => this.log,
  } as unknown as ReturnType<typeof createLog>

  of(message: string): number {
    return this.lines.filter((line) => line === message).length
  }
}

const STAYS = 'error certificate and key cannot be used, the former ones stay'
const TAKEN = 'info certificate read again'

async function handshake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  onTestFinished(() => void socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

/** The name in the certificate that a new connection is shown. */
async function nameAt(port: number): Promise<string> {
  const socket = await handshake(port)
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return subject.CN
}

async function openTls(url: string, ca: string): Promise<TestSocket> {
  const webSocket = new WebSocket(url, ['meshwire.v1'], { ca, perMessageDeflate: false })
  const socket = new TestSocket(webSocket, true)
  await once(webSocket, 'open')
  return socket
}

describe('a hub with a certificate', () => {
  it('speaks TLS on its port and says so in its addresses; plain HTTP is not answered', async () => {
    const { certFile, keyFile, cert } = certificateIn(temporaryFolder(), 'one')
    await using hub = await startTestHub('memory', { tlsCert: certFile, tlsKey: keyFile })
    expect(hub.url).toBe(`wss://127.0.0.1:${hub.port}/mesh`)
    expect(hub.httpUrl).toBe(`https://127.0.0.1:${hub.port}`)
    await using socket = await openTls(hub.url, cert)
    await socket.hello({ agent: { name: 'agent-1', capabilities: ['nlp'] } })
    await socket.roundTrip()
    const request = get(`${hub.httpUrl}/health`, { ca: cert })
    const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream]
    expect(JSON.parse(await text(response))).toMatchObject({ status: 'healthy' })
    const plain = connectTcp(hub.port, '127.0.0.1')
    plain.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect(await text(plain).catch(() => '')).not.toContain('HTTP/1.1 200')
  })

  it('speaks TLS 1.2 and 1.3, and nothing older', async () => {
    const { certFile, keyFile } = certificateIn(temporaryFolder(), 'one')
    await using hub = await startTestHub('memory', { tlsCert: certFile, tlsKey: keyFile })
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await handshake(hub.port, { minVersion: version, maxVersion: version })
      expect(socket.getProtocol()).toBe(version)
    }
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
    await expect(handshake(hub.port, old)).rejects.toThrow(/protocol version|alert/)
  })

  it('takes a new pair when its files change, and drops no connection for it', async () => {
    const folder = temporaryFolder()
    const { certFile, keyFile, cert } = certificateIn(folder, 'one')
    const two = certificateIn(temporaryFolder(), 'two')
    await using hub = await startTestHub('memory', { tlsCert: certFile, tlsKey: keyFile })
    await using socket = await openTls(hub.url, cert)
    await socket.hello({ agent: { name: 'agent-1', capabilities: ['nlp'] } })
    expect(await nameAt(hub.port)).toBe('one')
    copyFileSync(two.certFile, certFile)
    copyFileSync(two.keyFile, keyFile)
    await expect.poll(() => nameAt(hub.port)).toBe('two')
    await socket.roundTrip()
  })

  it('takes one that comes by a link set anew, as Kubernetes does it', async () => {
    const folder = temporaryFolder()
    for (const [name, version] of [
      ['one', 'v1'],
      ['two', 'v2'],
    ] as const) {
      mkdirSync(join(folder, version))
      const made = certificateIn(temporaryFolder(), name)
      copyFileSync(made.certFile, join(folder, version, 'tls.crt'))
      copyFileSync(made.keyFile, join(folder, version, 'tls.key'))
    }
    symlinkSync('v1', join(folder, '..data'))
    for (const file of ['tls.crt', 'tls.key']) symlinkSync(join('..data', file), join(folder, file))
    await using hub = await startTestHub('memory', {
      tlsCert: join(folder, 'tls.crt'),
      tlsKey: join(folder, 'tls.key'),
    })
    expect(await nameAt(hub.port)).toBe('one')
    symlinkSync('v2', join(folder, '..data_tmp'))
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
    await expect.poll(() => nameAt(hub.port)).toBe('two')
  })

  it('keeps the former pair while the files are none, says so once, and takes the next good one', async () => {
    const { certFile, keyFile } = certificateIn(temporaryFolder(), 'one')
    const two = certificateIn(temporaryFolder(), 'two')
    const said = new Lines()
    await using hub = await startHub({ port: 0, tlsCert: certFile, tlsKey: keyFile, logger: said.log })
    writeFileSync(certFile, 'no certificate')
    await expect.poll(() => said.of(STAYS)).toBe(1)
    expect(await nameAt(hub.port)).toBe('one')
    // Touched, but as bad as before.
    writeFileSync(certFile, 'no certificate')
    rmSync(keyFile)
    await expect.poll(() => said.of(STAYS)).toBe(2)
    // The certificate is there, and its key is not the one beside it.
    copyFileSync(two.certFile, certFile)
    writeFileSync(keyFile, certificateIn(temporaryFolder(), 'three').key)
    await expect.poll(() => said.of(STAYS)).toBe(3)
    expect(await nameAt(hub.port)).toBe('one')
    copyFileSync(two.keyFile, keyFile)
    await expect.poll(() => said.of(TAKEN)).toBe(1)
    expect(await nameAt(hub.port)).toBe('two')
  })
})

it('a certificate is read every now and then, where nobody tells of changes', async () => {
  const { certFile, keyFile, cert, key } = certificateIn(temporaryFolder(), 'one')
  const two = certificateIn(temporaryFolder(), 'two')
  const taken: string[] = []
  const server = { setSecureContext: (options: { cert?: unknown }) => void taken.push(String(options.cert)) }
  const tls = new TlsFiles({ cert: certFile, key: keyFile }, { cert, key }, server, createLog('silent'), {
    lookMs: 50,
    watching: false,
  })
  onTestFinished(() => tls.close())
  copyFileSync(two.certFile, certFile)
  copyFileSync(two.keyFile, keyFile)
  await expect.poll(() => taken).toEqual([two.cert])
})

describe('a hub is not started', () => {
  const START = [COMMAND, 'start', '--port', '0']

  it.each([
    ['--tls-cert', '--tls-key'],
    ['--tls-key', '--tls-cert'],
  ])('with %s alone', async (flag) => {
    const { code, errors } = await runNode([...START, flag, 'some.pem'])
    expect(code).toBe(1)
    expect(errors).toBe(
      'meshwire: --tls-cert (MESHWIRE_TLS_CERT) and --tls-key (MESHWIRE_TLS_KEY) go together; set both, or neither\n',
    )
  })

  it('with a file that is not there, or a key of another certificate, and says which', async () => {
    const { certFile, keyFile } = certificateIn(temporaryFolder(), 'one')
    const other = certificateIn(temporaryFolder(), 'two')
    await expect(startTestHub('memory', { tlsCert: '/nowhere.pem', tlsKey: keyFile })).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringMatching(/^--tls-cert \(MESHWIRE_TLS_CERT\) is "\/nowhere\.pem": ENOENT/),
    })
    await expect(startTestHub('memory', { tlsCert: certFile, tlsKey: other.keyFile })).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringMatching(
        /^--tls-cert .*together with --tls-key ".*two\.key" it cannot be used: .*mismatch/,
      ),
    })
  })
})

it('workers share certificate and port, and each takes a new one', { timeout: 60_000 }, async () => {
  const { certFile, keyFile } = certificateIn(temporaryFolder(), 'one')
  const two = certificateIn(temporaryFolder(), 'two')
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const flags = { '--workers': 2, '--port': 0, '--log-level': 'silent', '--key-prefix': keyPrefix }
  await using primary = startNode(
    [
      ...[COMMAND, 'start', '--tls-cert', certFile, '--tls-key', keyFile],
      ...Object.entries(flags).flat().map(String),
    ],
    { REDIS_URL: redisUrl },
  )
  const [line] = (await once(primary.child.stdout, 'data')) as [Buffer]
  const port = Number(/ listen on wss:\/\/127\.0\.0\.1:(\d+)\/mesh /.exec(line.toString())?.[1])
  const names = async (): Promise<string> =>
    (await Promise.all([nameAt(port), nameAt(port), nameAt(port), nameAt(port)])).join(' ')
  expect(await names()).toBe('one one one one')
  copyFileSync(two.certFile, certFile)
  copyFileSync(two.keyFile, keyFile)
  await expect.poll(names, { timeout: 10_000 }).toBe('two two two two')
})
