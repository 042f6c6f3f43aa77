import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exportPKCS8 } from 'jose'
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../src/config.ts'
import { parseSettings } from '../src/parse-settings.ts'
import { type HubServerOptions, startHub } from '../src/server.ts'
import { fileOfTest } from './support/authentication.ts'
import { ROOT, runNode, startNode } from './support/run.ts'
import { keyPair, pemOf, SECRET } from './support/tokens.ts'

const MAIN = 'dist/src/cli/main.js'
const problem = (input: Parameters<typeof parseSettings>[0]): string => {
  try {
    parseSettings(input)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return ''
}

describe('a hub that is reached from elsewhere', () => {
  it.each([
    '0.0.0.0',
    '::',
    '10.0.0.5',
    'hub.example',
    '127.0.0.1.evil.example',
    '1270.0.0.1',
    '127.999.0.1',
  ])('on %s does not start without authentication, unless it is told to', (host) => {
    expect(problem({ host })).toContain(`--host (MESHWIRE_HOST) is "${host}": without authentication`)
    expect(problem({ host })).toContain('--insecure-open')
    expect(problem({ host, insecureOpen: true })).toBe('')
    for (const name of ['tokensFile', 'jwtSecretFile', 'jwtKeyFile'])
      expect(problem({ host, [name]: 'file' })).toBe('')
    expect(problem({ host, jwksUrl: 'https://id.example/keys' })).toBe('')
  })

  it.each(['127.0.0.1', 'localhost', '::1', '127.1.2.3'])('does on %s', (host) => {
    expect(problem({ host })).toBe('')
  })

  it('says so on the command line, with the remedy, and ends with 1', async () => {
    const { code, errors, output } = await runNode([MAIN, 'start', '--host', '0.0.0.0', '--port', '0'])
    expect([code, output]).toEqual([1, ''])
    expect(errors).toMatch(
      /^meshwire: --host \(MESHWIRE_HOST\) is "0\.0\.0\.0": .*--tokens-file.*--insecure-open\n$/,
    )
  })

  it.each([{ tokensFile: 'file' }, { jwtSecretFile: 'file' }, { jwksUrl: 'https://id.example/keys' }])(
    'with %j does not open the MXP registry, which asks for no proof, unless it is told to',
    (authentication) => {
      const settings = { ...authentication, mxpUdpPort: 9000 }
      expect(problem(settings)).toContain('--mxp-udp-port (MESHWIRE_MXP_UDP_PORT) is 9000')
      expect(problem(settings)).toContain('--insecure-open')
      expect(problem({ ...settings, insecureOpen: true })).toBe('')
      expect(problem({ ...settings, mxpUdpHost: '0.0.0.0', insecureOpen: true })).toBe('')
      expect(problem(authentication)).toBe('')
    },
  )

  it('without authentication has the MXP registry on loopback only, unless it is told otherwise', () => {
    for (const mxpUdpHost of ['0.0.0.0', '::', '10.0.0.1', 'hub.example']) {
      const settings = { mxpUdpHost, mxpUdpPort: 9000 }
      expect(problem(settings)).toContain(`--mxp-udp-host (MESHWIRE_MXP_UDP_HOST) is "${mxpUdpHost}"`)
      expect(problem(settings)).toContain('--insecure-open')
      expect(problem({ ...settings, insecureOpen: true })).toBe('')
      expect(problem({ mxpUdpHost })).toBe('')
    }
    expect(problem({ mxpUdpHost: '::1', mxpUdpPort: 0 })).toBe('')
  })

  it('starts with --insecure-open, without a value too', async () => {
    const args = [
      MAIN,
      'start',
      '--port',
      '0',
      '--log-level',
      'silent',
      '--host',
      '0.0.0.0',
      '--insecure-open',
    ]
    await using running = startNode(args)
    const [line] = (await new Promise<Buffer[]>((resolve) => {
      running.child.stdout.once('data', (data: Buffer) => resolve([data]))
    })) as [Buffer]
    expect(line.toString()).toContain('ws://0.0.0.0:')
  })
})

describe('settings of authentication', () => {
  it.each([
    [{ insecureOpen: 'maybe' }, '--insecure-open'],
    [{ insecureOpen: true, tokensFile: 'x' }, 'does not go with authentication'],
    [{ jwtSecretFile: 'x', jwtKeyFile: 'y' }, 'do not go together'],
    [{ jwtKeyFile: 'x', jwksUrl: 'https://id.example' }, 'do not go together'],
    [{ jwtIssuer: 'https://id.example' }, 'there is no key'],
    [{ jwtAudience: 'mesh', tokensFile: 'x' }, 'there is no key'],
    [{ jwtAlgorithms: 'RS256' }, 'there is no key'],
    [{ jwtSecretFile: 'x', jwtAlgorithms: 'RS256' }, 'RS256 does not go with'],
    [{ jwtKeyFile: 'x', jwtAlgorithms: 'HS256,RS256' }, 'HS256 does not go with'],
    [{ jwksUrl: 'https://id.example', jwtAlgorithms: ['none'] }, '--jwt-algorithms'],
    [{ jwksUrl: 'http://id.example/keys' }, 'https://'],
    [{ jwksUrl: 'http://localhost.evil.example/keys' }, 'https://'],
    [{ jwksUrl: 'file:///keys' }, 'https://'],
    [{ jwksUrl: 'https://user:secret@id.example' }, 'without a user'],
    [{ allowedOrigins: '*' }, '--allowed-origins'],
    [{ allowedOrigins: 'app.example' }, '--allowed-origins'],
    [{ allowedOrigins: 'https://*.example' }, '--allowed-origins'],
    [{ allowedOrigins: 'https://app.example/path' }, '--allowed-origins'],
    [{ allowedHosts: '*' }, '--allowed-hosts'],
    [{ allowedHosts: 'hub.example:7171' }, '--allowed-hosts'],
  ])('%j are refused', (input, reason) => {
    expect(problem(input)).toContain(reason)
    expect(problem(input)).not.toContain('secret@')
  })

  it('take several values with commas between, or as a list', () => {
    const { allowedHosts, allowedOrigins } = parseSettings({
      allowedHosts: 'a.example, b.example,,[::2]',
      allowedOrigins: ['https://app.example'],
    })
    expect([allowedHosts, allowedOrigins]).toEqual([
      ['a.example', 'b.example', '[::2]'],
      ['https://app.example'],
    ])
  })
})

describe('a hub whose files are wrong', () => {
  const started = async (options: HubServerOptions): Promise<string> => {
    try {
      await using _hub = await startHub({ port: 0, logLevel: 'silent', ...options })
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError)
      return (error as Error).message
    }
    return 'started'
  }

  it.each(['tokensFile', 'jwtSecretFile', 'jwtKeyFile'] as const)(
    'does not start: %s that is not there',
    async (name) => {
      expect(await started({ [name]: join(ROOT, 'not-there') })).toContain('ENOENT')
    },
  )

  it.each([
    ['tokensFile', '{"token":"the-secret-itself"}', 'JSON list'],
    ['tokensFile', '[{"token":"the-secret-itself"', 'no JSON'],
    ['jwtSecretFile', 'the-secret-itself', '17 bytes'],
    ['jwtKeyFile', 'the-secret-itself', 'neither PEM nor JSON'],
  ] as const)('does not start: %s with %j', async (name, text, reason) => {
    const message = await started({ [name]: await fileOfTest('file', text) })
    expect(message).toContain(reason)
    expect(message).not.toContain('the-secret-itself')
  })

  it('does not start: a private key, or a public one as the secret', async () => {
    const pair = await keyPair('RS256')
    const secret = await fileOfTest('key', await exportPKCS8(pair.privateKey))
    expect(await started({ jwtKeyFile: secret })).toContain('give the hub the public one')
    expect(await started({ jwtSecretFile: await fileOfTest('key', await pemOf(pair)) })).toContain('PEM')
  })

  it('does not start: keys that are for none of the algorithms listed', async () => {
    const jwtKeyFile = await fileOfTest('key', await pemOf(await keyPair('ES256')))
    expect(await started({ jwtKeyFile, jwtAlgorithms: ['RS256'] })).toContain('the keys are for ES256')
    expect(await started({ jwtKeyFile, jwtAlgorithms: ['RS256', 'ES256'] })).toBe('started')
  })

  it('starts with what is right, and an empty list of tokens lets nobody in', async () => {
    expect(await started({ jwtSecretFile: await fileOfTest('secret', `${SECRET}\n`) })).toBe('started')
    const tokensFile = await fileOfTest('tokens', '[]')
    expect(await started({ tokensFile })).toBe('started')
    await writeFile(tokensFile, '')
    expect(await started({ tokensFile })).toContain('no JSON')
  })
})
