import { createServer, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import { onTestFinished } from 'vitest'

export type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>

export const keyPair = (algorithm: string): Promise<KeyPair> =>
  generateKeyPair(algorithm, { extractable: true })

export const pemOf = ({ publicKey }: KeyPair): Promise<string> => exportSPKI(publicKey)

export const SECRET = 'a secret of more than 32 bytes, for tests'

/** What a test may say of a token. */
export interface TokenFields {
  readonly sub?: string
  readonly ns?: unknown
  readonly mesh?: unknown
  readonly alg?: string
  readonly kid?: string
  readonly iss?: string
  readonly aud?: string
  /** Seconds from now. */
  readonly countsIn?: number
  /** Seconds from now; null: none. */
  readonly expiresIn?: number | null
}

/** A token of `bot` for the namespace `default` that may do everything, for an hour. */
export async function signed(
  key: KeyPair['privateKey'] | Uint8Array,
  fields: TokenFields = {},
): Promise<string> {
  const { sub = 'bot', ns, mesh = '*', alg = 'HS256', kid, iss, aud, countsIn, expiresIn = 3_600 } = fields
  const token = new SignJWT({ ...(ns !== undefined && { ns }), mesh, sub })
  token.setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
  if (iss !== undefined) token.setIssuer(iss)
  if (aud !== undefined) token.setAudience(aud)
  if (countsIn !== undefined) token.setNotBefore(Math.floor(Date.now() / 1_000) + countsIn)
  if (expiresIn !== null) token.setExpirationTime(Math.floor(Date.now() / 1_000) + expiresIn)
  return token.sign(key)
}

/** A token by the secret of tests. */
export const tokenFor = (sub: string, fields: TokenFields = {}): Promise<string> =>
  signed(new TextEncoder().encode(SECRET), { ...fields, sub })

/** An issuer that publishes its keys, and does whatever a test has it do. */
export interface Issuer {
  readonly url: string
  /** How often it was asked. */
  readonly asked: number
  publish(
    ...keys: readonly { readonly pair: KeyPair; readonly kid?: string; readonly alg?: string }[]
  ): Promise<void>
  /** How it answers from now on. */
  answer: (response: ServerResponse, keys: string) => void
}

const plainly: Issuer['answer'] = (response, keys) => void response.end(keys)

export async function startIssuer(): Promise<Issuer> {
  let keys = '{"keys":[]}'
  let asked = 0
  const server = createServer((_request, response) => {
    asked++
    issuer.answer(response, keys)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const issuer: Issuer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
    get asked() {
      return asked
    },
    async publish(...pairs) {
      const jwks = await Promise.all(
        pairs.map(async ({ pair, ...fields }) => ({ ...(await exportJWK(pair.publicKey)), ...fields })),
      )
      keys = JSON.stringify({ keys: jwks })
    },
    answer: plainly,
  }
  return issuer
}
