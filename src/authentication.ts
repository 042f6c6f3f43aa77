import { type Authenticator, OPEN } from './auth/authenticator.ts'
import { EitherTokens } from './auth/either.ts'
import { JwtTokens } from './auth/jwt.ts'
import { RemoteKeys } from './auth/remote-keys.ts'
import { type Algorithm, type KeyFile, KeyError, publicKeys, secretKeys } from './auth/signing-keys.ts'
import { StaticTokens } from './auth/static-tokens.ts'
import { ConfigError, issueText, type SettingName, type Settings } from './config.ts'
import type { Log } from './observability/log.ts'
import { readSetting } from './setting-file.ts'

/** What an issuer's keys may be for. */
const PUBLISHED: readonly Algorithm[] = ['RS256', 'ES256', 'EdDSA']

/** Keys of the file that a setting names. @throws ConfigError */
function keysOf(settings: Settings, name: SettingName, read: (text: string) => KeyFile): KeyFile {
  try {
    return read(readSetting(settings, name) ?? '')
  } catch (error) {
    if (error instanceof KeyError) throw new ConfigError(issueText(name, settings[name], error.message))
    throw error
  }
}

/** The keys that settings name, or null where they name none. @throws ConfigError */
function keyFileOf(settings: Settings, log: Log): KeyFile | null {
  const { jwtSecretFile, jwtKeyFile, jwksUrl } = settings
  if (jwtSecretFile !== undefined)
    return keysOf(settings, 'jwtSecretFile', (text) => ({ keys: secretKeys(text), algorithms: ['HS256'] }))
  if (jwtKeyFile !== undefined) return keysOf(settings, 'jwtKeyFile', publicKeys)
  if (jwksUrl === undefined) return null
  const onError = (error: Error): void =>
    log.error({ url: jwksUrl, reason: error.message }, 'keys of tokens cannot be fetched')
  return { keys: new RemoteKeys({ url: jwksUrl, onError }), algorithms: PUBLISHED }
}

function signedTokens(settings: Settings, log: Log): Authenticator | null {
  const file = keyFileOf(settings, log)
  if (file === null) return null
  const listed = settings.jwtAlgorithms
  const algorithms =
    listed.length === 0 ? file.algorithms : file.algorithms.filter((one) => listed.includes(one))
  if (algorithms.length === 0)
    throw new ConfigError(
      issueText(
        'jwtAlgorithms',
        listed,
        `the keys are for ${file.algorithms.join(', ')}, so no token could be accepted`,
      ),
    )
  return new JwtTokens({
    keys: file.keys,
    algorithms,
    issuer: settings.jwtIssuer ?? null,
    audience: settings.jwtAudience ?? null,
  })
}

/** Who is let in, by the settings. @throws ConfigError for a file that cannot be read or is not what it should be */
export async function openAuthenticator(settings: Settings, log: Log): Promise<Authenticator> {
  const signed = signedTokens(settings, log)
  const { tokensFile } = settings
  if (tokensFile === undefined) return signed ?? OPEN
  try {
    const listed = await StaticTokens.open(tokensFile, log)
    return signed === null ? listed : new EitherTokens(listed, signed)
  } catch (error) {
    throw new ConfigError(issueText('tokensFile', tokensFile, (error as Error).message))
  }
}
