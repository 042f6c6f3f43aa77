import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Tab } from '../client-suite/tab.ts'
import { withSecret } from '../support/authentication.ts'
import { type Chromium, startChromium } from '../support/chromium.ts'
import { startTestHub } from '../support/hubs.ts'
import { type Pages, startPages } from '../support/pages.ts'
import { tokenFor } from '../support/tokens.ts'

// Of the page; what is passed to `evaluate` runs there.
declare const tab: Tab

let chromium: Chromium
let pages: Pages

beforeAll(async () => {
  // A name of somebody else that leads here, as after DNS rebinding.
  pages = await startPages()
  chromium = await startChromium('--host-resolver-rules=MAP evil.example 127.0.0.1')
})
afterAll(async () => {
  await chromium[Symbol.asyncDispose]()
  await pages[Symbol.asyncDispose]()
})

const named = (url: string, host: string): string => {
  const there = new URL(url)
  there.hostname = host
  return there.href
}

async function openPage(host = '127.0.0.1'): Promise<Page & AsyncDisposable> {
  const page = await chromium.window.newPage()
  await page.goto(named(pages.url, host))
  return Object.assign(page, { [Symbol.asyncDispose]: () => page.close() })
}

/** Whether a page gets a WebSocket to `url`. */
const reaches = (page: Page, url: string): Promise<boolean> =>
  page.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket(${JSON.stringify(url)})
    socket.onopen = () => resolve(true)
    socket.onclose = () => resolve(false)
  })`)

/** What a page reads of `url`; null where it is not let. */
const reads = (page: Page, url: string): Promise<number | null> =>
  page.evaluate(
    (from) =>
      fetch(from).then(
        ({ status }) => status,
        () => null,
      ),
    url,
  )

describe('a page in a browser', () => {
  it('of the hub’s own names gets a socket, one of somebody else does not', async () => {
    await using hub = await startTestHub('memory')
    await using own = await openPage()
    await using foreign = await openPage('evil.example')
    expect([await reaches(own, hub.url), await reaches(foreign, hub.url)]).toEqual([true, false])
    expect(await reads(foreign, `${hub.httpUrl}/health`)).toBe(null)
  })

  it('that reaches the hub by a name of its own gets nothing either', async () => {
    await using hub = await startTestHub('memory', {
      allowedOrigins: [new URL(named(pages.url, 'evil.example')).origin],
    })
    await using foreign = await openPage('evil.example')
    expect(await reaches(foreign, named(hub.url, 'evil.example'))).toBe(false)
    expect(await reaches(foreign, hub.url)).toBe(true)
  })

  it('of an origin that is listed gets a socket, and reads over HTTP', async () => {
    const { origin } = new URL(named(pages.url, 'evil.example'))
    await using hub = await startTestHub('memory', { allowedOrigins: [origin] })
    await using listed = await openPage('evil.example')
    expect(await reaches(listed, hub.url)).toBe(true)
    expect(await reads(listed, `${hub.httpUrl}/health`)).toBe(200)
  })

  it('is an agent by a token in its hello', async () => {
    await using hub = await startTestHub('memory', await withSecret())
    await using page = await openPage()
    const token = await tokenFor('alice')
    const id = await page.evaluate(
      async ([url, text]) => {
        await tab.join(url, 'alice', { token: text })
        return tab.client.id
      },
      [hub.url, token] as const,
    )
    expect(id).toBe('alice')
  })
})
