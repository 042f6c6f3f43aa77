import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type BrowserContext } from 'playwright-core'
import { findChromium } from '../../scripts/find-chromium.mjs'

const START_TIMEOUT_MS = 20_000

const FLAGS = [
  '--headless',
  '--remote-debugging-port=0',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-dev-shm-usage',
  '--disable-extensions',
  '--disable-gpu',
  '--disable-sync',
  '--mute-audio',
  '--password-store=basic',
  // Chromium's sandbox does not run as root.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
]

/** A browser of its own, as it comes: tabs that are not in front are hidden, and pages are kept for going back. */
export interface Chromium extends AsyncDisposable {
  /** Its one window. */
  readonly window: BrowserContext
}

/**
 * Starts a headless Chromium. Not by playwright's `launch`, which makes every page believe that it is visible and has the focus,
 * and switches the back/forward cache off.
 * @param flags further ones of its command line
 */
export async function startChromium(...flags: readonly string[]): Promise<Chromium> {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-chromium-'))
  const child = spawn(findChromium(), [...FLAGS, ...flags, `--user-data-dir=${directory}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  // A test process that gives up must not leave a browser behind.
  const killNow = (): void => void child.kill('SIGKILL')
  process.once('exit', killNow)
  const exit = once(child, 'exit')
  const endpoint = await new Promise<string>((resolve, reject) => {
    let errors = ''
    const failed = (): void => reject(new Error(`Chromium did not start: ${errors.slice(-2000)}`))
    const timer = setTimeout(failed, START_TIMEOUT_MS)
    child.once('exit', failed)
    child.stderr.on('data', (text: Buffer) => {
      errors += text.toString()
      const [, url] = /DevTools listening on (\S+)/.exec(errors) ?? []
      if (url === undefined) return
      clearTimeout(timer)
      resolve(url)
    })
  })
  const browser = await chromium.connectOverCDP(endpoint, { noDefaults: true })
  const [window] = browser.contexts()
  if (window === undefined) throw new Error('Chromium has no window')
  return {
    window,
    async [Symbol.asyncDispose]() {
      const session = await browser.newBrowserCDPSession()
      // It ends before it answers.
      session.send('Browser.close').catch(() => undefined)
      const late = setTimeout(killNow, 5000)
      await exit
      clearTimeout(late)
      process.off('exit', killNow)
      await rm(directory, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
