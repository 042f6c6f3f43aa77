import { readFileSync } from 'node:fs'
import { ConfigError, issueText, type SettingName, type Settings } from './config.ts'

/** The text of the file that a setting names, or undefined. @throws ConfigError */
export function readSetting(settings: Settings, name: SettingName): string | undefined {
  const path = settings[name]
  if (path === undefined) return undefined
  try {
    return readFileSync(String(path), 'utf8')
  } catch (error) {
    throw new ConfigError(issueText(name, path, (error as Error).message))
  }
}
