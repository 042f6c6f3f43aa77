import { once } from 'node:events'
import { statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { flagOf, SETTING_NAMES, variableOf } from '../src/config.ts'
import { startTestHub } from './support/hubs.ts'
import { ROOT, runNode, startNode } from './support/run.ts'

const MAIN = 'dist/src/cli/main.js'

describe('meshwire start', () => {
  it('prints every setting that is wrong, in all its spellings, and ends with 1', async () => {
    const { code, errors, output } = await runNode([MAIN, 'start', '--port', '99999', '--grace-ms', 'soon'])
    expect(code).toBe(1)
    expect(output).toBe('')
    expect(errors).toContain('--port (MESHWIRE_PORT) is "99999"')
    expect(errors).toContain('--grace-ms (MESHWIRE_GRACE_MS) is "soon"')
  })

  it('says which Redis does not answer, without its password, and what to do', async () => {
    const { code, errors } = await runNode([MAIN, 'start', '--port', '0'], {
      REDIS_URL: 'redis://ann:secret@127.0.0.1:1/2',
    })
    expect(code).toBe(1)
    expect(errors).toMatch(/^meshwire: Redis at 127\.0\.0\.1:1\/2 .*ECONNREFUSED.*correct REDIS_URL\n$/)
    expect(errors).not.toContain('secret')
  })

  it('says that its port is taken and how to choose another', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const { code, errors } = await runNode([MAIN, 'start', '--port', String(port)])
    server.close()
    expect(code).toBe(1)
    expect(errors).toContain('EADDRINUSE')
    expect(errors).toContain('--port 0')
  })

  it('says where the MXP registry is, or that its port is taken', async () => {
    await using hub = await startTestHub('memory', { mxpUdpPort: 0 })
    const taken = ['--port', '0', '--mxp-udp-port', String(hub.mxpUdpPort)]
    const { code, errors } = await runNode([MAIN, 'start', ...taken])
    expect(code).toBe(1)
    expect(errors).toMatch(/^meshwire: --mxp-udp-port \(MESHWIRE_MXP_UDP_PORT\) is \d+: .*EADDRINUSE/)
    await using running = startNode([MAIN, 'start', '--port', '0', '--mxp-udp-port', '0'])
    const [line] = (await once(running.child.stdout, 'data')) as [Buffer]
    expect(line.toString()).toMatch(/, MXP registry on UDP port \d+ /)
  })

  it('tells flags, what they are for, variables and defaults in its help', async () => {
    const { code, output } = await runNode([MAIN, 'start', '--help'])
    expect(code).toBe(0)
    const help = output.replaceAll(/\s+/g, ' ')
    expect(help).toContain('[MESHWIRE_PORT, default 7171]')
    for (const name of SETTING_NAMES)
      expect(help).toMatch(
        new RegExp(`${flagOf(name)} (?:<value>|\\[value\\]) [A-Z].*?\\. \\[${variableOf(name)}`),
      )
    expect(help).not.toContain('undefined')
  })

  it('tells each setting that is wrong in a line for people', async () => {
    const { code, errors } = await runNode([MAIN, 'start', '--port', 'x', '--grace-ms', '-1'])
    expect(code).toBe(1)
    expect(errors.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^meshwire: --port /),
      expect.stringMatching(/^meshwire: --grace-ms /),
    ])
  })

  it('may be executed after each build, as whoever has linked the package does', () => {
    expect(statSync(join(ROOT, MAIN)).mode & 0o111).toBe(0o111)
  })
})
