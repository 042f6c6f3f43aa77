import { afterAll, beforeAll, describe, it } from 'vitest'
import type { Page } from 'playwright-core'
import { SUITE } from '../client-suite/index.ts'
import type { Capture } from '../client-suite/stage.ts'
import { startChromium, type Chromium } from '../support/chromium.ts'
import { startPages, type Pages } from '../support/pages.ts'
import { startWorld, type HubWorld } from '../support/world.ts'

declare const runCase: (title: string, url: string) => Promise<void>

let chromium: Chromium
let pages: Pages
let page: Page
let world: HubWorld | null = null

beforeAll(async () => {
  // The browser last: what fails before it leaves none behind.
  pages = await startPages()
  chromium = await startChromium()
  page = await chromium.window.newPage()
  const act = (name: 'cut' | 'capture', parameter: Capture): Promise<void> | undefined =>
    world?.[name](parameter)
  await page.exposeFunction('world', act)
})
afterAll(async () => {
  await chromium[Symbol.asyncDispose]()
  await pages[Symbol.asyncDispose]()
})

describe('the client suite, in Chromium', () => {
  for (const { title, hub } of SUITE) {
    it(title, async () => {
      await using mine = await startWorld(hub)
      world = mine
      await page.goto(pages.url)
      // Reconnecting waits at random; these tests want to see it, not to wait for it.
      await page.evaluate('Math.random = () => 0')
      await page.evaluate(([name, url]) => runCase(name, url), [title, mine.url] as const)
    })
  }
})
