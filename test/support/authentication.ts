import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Authenticator } from '../../src/auth/authenticator.ts'
import { JwtTokens } from '../../src/auth/jwt.ts'
import { secretKeys } from '../../src/auth/signing-keys.ts'
import type { Settings } from '../../src/config.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { createApp } from '../../src/http/app.ts'
import { Hub } from '../../src/hub/hub.ts'
import { MXP_SUBPROTOCOL, speakMxp } from '../../src/mxp/doors.ts'
import { createLog } from '../../src/observability/log.ts'
import { createMemoryCore, VERSION } from '../../src/server.ts'
import { type AgentOptions, connectAgent, type TestAgent } from './agent.ts'
import { SECRET, tokenFor, type TokenFields } from './tokens.ts'

/** A file of this test, removed after it. */
export async function fileOfTest(name: string, text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-auth-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  const path = join(directory, name)
  await writeFile(path, text)
  return path
}

/** Settings of hubs that ask for tokens of `tokenFor`. */
export const withSecret = async (): Promise<Partial<Settings>> => ({
  jwtSecretFile: await fileOfTest('secret', SECRET),
})

export const bearer = (token: string): { readonly authorization: string } => ({
  authorization: `Bearer ${token}`,
})

/** An agent whose token is of `sub`; its id is what the hub makes of that, unless it is given. */
export async function joinAs(
  hub: { readonly url: string },
  sub: string,
  fields: TokenFields = {},
  options: AgentOptions = {},
): Promise<TestAgent> {
  const headers = bearer(await tokenFor(sub, fields))
  return connectAgent(hub, { name: `${sub.replaceAll(/[.:]/g, '-')}-name`, ...options, headers })
}

/** Whoever asks for tokens by the secret of tests. */
export const bySecret = (): Authenticator =>
  new JwtTokens({ keys: secretKeys(SECRET), algorithms: ['HS256'], issuer: null, audience: null })

/** A hub on a memory core whose clock for tokens the test moves. */
export interface ClockedHub extends AsyncDisposable {
  readonly url: string
  readonly hub: Hub
  /** Milliseconds since 1970; what has ended is looked for when it is set. */
  pass(ms: number): void
}

export async function startClockedHub(authenticator: Authenticator = bySecret()): Promise<ClockedHub> {
  // It stands still from when it is first moved, which is after the tokens were made that are to end.
  let set: number | null = null
  const now = (): number => set ?? Date.now()
  const settings = parseSettings({})
  const core = createMemoryCore({ limits: settings })
  const hub = new Hub({ core, settings, log: createLog('silent'), authenticator, now })
  const app = createApp(hub, VERSION, { dialects: new Map([[MXP_SUBPROTOCOL, speakMxp]]) })
  await hub.start()
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    url: `${address.replace('http', 'ws')}/mesh`,
    hub,
    pass(ms) {
      set = now() + ms
      hub.expiry.look()
    },
    async [Symbol.asyncDispose]() {
      await hub.close()
      await app.close()
      await core.close()
    },
  }
}
