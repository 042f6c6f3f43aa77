import type { Page, Route } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Client } from '../../client/node.ts'
import { createPending } from '../../client/pending.ts'
import { collect } from '../client-suite/stage.ts'
import type { Tab } from '../client-suite/tab.ts'
import { startChromium, type Chromium } from '../support/chromium.ts'
import { startPages, type Pages } from '../support/pages.ts'
import { startWorld, type HubWorld } from '../support/world.ts'

// Of the page; what is passed to `evaluate` runs there.
declare const tab: Tab

let chromium: Chromium
let pages: Pages

beforeAll(async () => {
  // The browser last: what fails before it leaves none behind.
  pages = await startPages()
  chromium = await startChromium()
})
afterAll(async () => {
  await chromium[Symbol.asyncDispose]()
  await pages[Symbol.asyncDispose]()
})

/** A tab that is an agent, with something between it and its parts. */
async function openAgent(
  world: HubWorld,
  between: (route: Route, url: string) => Promise<void>,
): Promise<Page & AsyncDisposable> {
  const page = await chromium.window.newPage()
  await page.route(/client-parts\.min\.js/, (route) => between(route, route.request().url()))
  await page.goto(pages.url)
  // Trying again waits at random; these tests want to see it, not to wait for it.
  await page.evaluate('Math.random = () => 0')
  await page.evaluate((url) => tab.join(url, 'alice'), world.url)
  return Object.assign(page, { [Symbol.asyncDispose]: () => page.close() })
}

function joinBeside(world: HubWorld): Promise<Client> {
  return connect({ url: world.hubUrl, name: 'bob', id: 'bob', capabilities: ['test'] })
}

/** What the page reads of a stream that `bob` makes. */
const readThree = (page: Page): Promise<unknown> =>
  page.evaluate(async () => {
    const read: unknown[] = []
    for await (const chunk of tab.client.requestStream('bob', 3, { timeoutMs: 10_000 })) read.push(chunk)
    return read
  })

async function* count({ payload }: { payload: number }): AsyncGenerator<number> {
  for (let n = 0; n < payload; n++) yield n
}

describe('a page whose client has its parts in a file of their own', () => {
  it('sends and asks while they are on their way, and has what came meanwhile', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    const got = collect(bob)
    bob.onMessage('query', ({ payload }) => `${String(payload)}!`)
    const held = createPending()
    await using page = await openAgent(world, async (route) => {
      await held.promise
      await route.continue()
    })
    await page.evaluate(() => tab.send('bob', 'sent'))
    expect(await got.has(1)).toEqual(['sent'])
    expect(await page.evaluate(async () => (await tab.client.request('bob', 'asked')).payload)).toBe('asked!')
    for (const payload of ['one', 'two', 'three']) await bob.send('alice', payload)
    const watched = page.evaluate(async () => {
      const watch = tab.client.watch()
      await watch.ready
      return [...watch.agents.keys()].toSorted()
    })
    expect(await page.evaluate(() => tab.got.items)).toEqual([])
    held.resolve()
    expect(await page.evaluate(() => tab.got.has(3))).toEqual(['one', 'two', 'three'])
    expect(await watched).toEqual(['alice', 'bob'])
  })

  it('fetches them again by another URL where that failed', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    bob.onMessage('query', count)
    const urls: string[] = []
    await using page = await openAgent(world, (route, url) =>
      urls.push(url) === 1 ? route.abort() : route.continue(),
    )
    expect(await readThree(page)).toEqual([0, 1, 2])
    const [first = '', second = ''] = urls
    expect(second).toBe(`${first}.1`)
    expect(urls.length).toBe(2)
  })

  it('has them before it needs them: it may be offline by then', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    bob.onMessage('query', count)
    const fetched = createPending()
    let fetches = 0
    await using page = await openAgent(world, async (route) => {
      fetches++
      await route.continue()
      fetched.resolve()
    })
    await fetched.promise
    await page.waitForLoadState('networkidle')
    await page.context().setOffline(true)
    await world.refuse()
    await page.evaluate(() => tab.until('waiting'))
    const reading = readThree(page)
    await world.heal()
    await page.context().setOffline(false)
    expect(await reading).toEqual([0, 1, 2])
    expect(fetches).toBe(1)
  })

  it('asks for them until they can be had, and tells who cannot wait for that', async () => {
    await using world = await startWorld()
    let isGone = true
    await using page = await openAgent(world, (route) =>
      isGone ? route.fulfill({ status: 404, body: 'gone' }) : route.continue(),
    )
    const late = await page.evaluate(async () => {
      const stream = tab.client.requestStream('alice', 1, { timeoutMs: 200 })
      const { code, retryable, remedy } = (await stream.next().catch((error: unknown) => error)) as Error & {
        code: string
        retryable: boolean
        remedy: string
      }
      return { code, retryable, remedy }
    })
    expect(late).toEqual({ code: 'timeout', retryable: true, remedy: 'Ask again, or raise timeoutMs.' })
    isGone = false
    await page.evaluate(() => tab.client.watch().ready)
  })
})
