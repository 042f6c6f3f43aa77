import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type AgentOptions, type Client, type WatchOptions } from '../../client/node.ts'
import { collect, untilEvent } from '../client-suite/stage.ts'
import type { Tab } from '../client-suite/tab.ts'
import { startChromium, type Chromium } from '../support/chromium.ts'
import { startPages, type Pages } from '../support/pages.ts'
import { startScriptedHub } from '../support/scripted-hub.ts'
import { startWorld, type HubWorld } from '../support/world.ts'

// Of the page; what is passed to `evaluate` runs there.
declare const tab: Tab
declare const sockets: { readonly most: number; readonly all: readonly { readonly readyState: number }[] }

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

/** A tab in front of the others, with `tab` in it; closed at the end of its test. */
async function openTab(): Promise<Page & AsyncDisposable> {
  const page = await chromium.window.newPage()
  await page.goto(pages.url)
  return Object.assign(page, { [Symbol.asyncDispose]: () => page.close() })
}

async function openAgent(
  world: { readonly url: string },
  name: string,
  options: Partial<AgentOptions> = {},
): Promise<Page & AsyncDisposable> {
  const page = await openTab()
  await page.evaluate(([url, id, more]) => tab.join(url, id, more), [world.url, name, options] as const)
  return page
}

/** An agent in Node, beside the proxy. */
function joinBeside(world: HubWorld, name = 'bob'): Promise<Client> {
  return connect({ url: world.hubUrl, name, id: name, capabilities: ['test'], concurrency: 1 })
}

const stateOf = (page: Page): Promise<unknown> => page.evaluate(() => tab.client.state)
const visibility = (page: Page): Promise<string> => page.evaluate('document.visibilityState')

/** Waits until an agent sees another one offline. */
async function untilOffline(client: Client, id: string): Promise<void> {
  await using watch = client.watch()
  await untilEvent(watch, () => watch.agents.get(id)?.status === 'offline')
}

async function setFrozen(page: Page, frozen: boolean): Promise<void> {
  const session = await chromium.window.newCDPSession(page)
  await session.send('Page.setWebLifecycleState', { state: frozen ? 'frozen' : 'active' })
}

/** The next time that a page is shown: whether it was kept for that. */
async function nextShow(page: Page): Promise<boolean> {
  const shown = page.waitForEvent('console', (message) => message.text().startsWith('shown'))
  return (await shown).text() === 'shown again'
}

const tellShows = (page: Page): Promise<unknown> =>
  page.evaluate(
    `addEventListener('pageshow', ({ persisted }) => console.log(persisted ? 'shown again' : 'shown'))`,
  )

describe('a client in a tab', () => {
  it('stays connected while the tab is hidden, for longer than its hub waits for a sign of life', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    await using page = await openAgent(world, 'alice')
    await using _front = await openTab()
    expect(await visibility(page)).toBe('hidden')
    const options: WatchOptions = { events: ['agent.heartbeat'] }
    await using watch = bob.watch(null, options)
    for (let beats = 0; beats < 4; beats++)
      await untilEvent(watch, (event) => event.event === 'agent.heartbeat' && event.agentId === 'alice')
    await bob.send('alice', 'hidden')
    expect(await page.evaluate(() => tab.got.has(1))).toEqual(['hidden'])
    await page.bringToFront()
    expect(await page.evaluate(() => tab.history)).toEqual(['connecting', 'greeting', 'open'])
  })

  it('lets go of its hub when the page is frozen, and is back at once when it goes on', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    await using page = await openAgent(world, 'alice')
    await using _front = await openTab()
    await setFrozen(page, true)

    expect(await stateOf(page)).toMatchObject({ type: 'waiting', cause: { reason: 'left' } })

    await untilOffline(bob, 'alice')

    const got = collect(bob)
    await bob.send('alice', 'to the cold')
    await page.evaluate(() => tab.send('bob', 'from the cold'))

    await setFrozen(page, false)

    expect(await page.evaluate(() => tab.until('waiting'))).toMatchObject({ cause: { reason: 'left' } })

    expect(await page.evaluate(() => tab.until('waiting'))).toMatchObject({ delayMs: 0 })

    expect(await page.evaluate(() => tab.until('open'))).toMatchObject({ resumed: true })

    expect(await page.evaluate(() => tab.got.has(1))).toEqual(['to the cold'])

    expect(await got.has(1)).toEqual(['from the cold'])

    expect(await page.evaluate(() => sockets.most)).toBe(1)
  })

  it.each([
    ['connected', false],
    ['without a network', true],
  ])('goes to the back/forward cache with its page, %s, and is back at once', async (_title, cutOff) => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    await using page = await openAgent(world, 'alice')
    await tellShows(page)
    await page.evaluate(() => tab.send('bob', 'before'))
    const got = collect(bob)
    await got.has(1)
    if (cutOff) {
      await world.refuse()
      await page.evaluate(() => tab.until('waiting'))
      await page.evaluate(() => tab.send('bob', 'meanwhile'))
    }
    await page.evaluate(`addEventListener('pagehide', () => (globalThis.leftAs = tab.client.state.type))`)
    const [connection] = world.proxy.connections
    await page.goto(`${pages.url}elsewhere`)
    await connection?.closed
    await bob.send('alice', 'while away')
    await world.heal()
    const shown = nextShow(page)
    await page.evaluate('history.back()')
    expect(await shown).toBe(true)
    expect(await page.evaluate(() => tab.until('open'))).toMatchObject({ resumed: true })
    expect(await page.evaluate(() => tab.got.has(1))).toEqual(['while away'])
    await page.evaluate(() => tab.send('bob', 'back'))
    expect(await got.has(cutOff ? 3 : 2)).toEqual(['before', ...(cutOff ? ['meanwhile'] : []), 'back'])
    // Not only where a browser freezes the page as well, or cuts its socket itself.
    expect(await page.evaluate('leftAs')).toBe('waiting')
    const reasons = `performance.getEntriesByType('navigation')[0].notRestoredReasons`
    expect(await page.evaluate(reasons)).toBe(null)
    expect([await page.evaluate(() => sockets.most), world.proxy.most]).toEqual([1, 1])
    if (cutOff) return
    expect(await page.evaluate(() => tab.history.join(' '))).toBe(
      'connecting greeting open waiting waiting connecting greeting open',
    )
  })

  it('waits while the browser is offline, and sends what waited when it is online', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    await using page = await openAgent(world, 'alice')
    const got = collect(bob)
    await chromium.window.setOffline(true)
    await world.cut()
    await page.evaluate(() => tab.until('waiting'))
    await page.evaluate(() => tab.send('bob', 'from the tunnel'))
    expect(await page.evaluate(() => tab.until('waiting'))).toMatchObject({ cause: { code: 1006 } })
    await bob.send('alice', 'to the tunnel')
    await chromium.window.setOffline(false)
    await page.evaluate(() => tab.until('open'))
    expect(await got.has(1)).toEqual(['from the tunnel'])
    expect(await page.evaluate(() => tab.got.has(1))).toEqual(['to the tunnel'])
    expect(await page.evaluate(() => [tab.answers, sockets.most])).toEqual([
      { 'from the tunnel': 'stored' },
      1,
    ])
  })

  it('asks its hub when the network has changed, and finds it gone before the next heartbeat is due', async () => {
    await using world = await startWorld('here', { heartbeatIntervalMs: 3_600_000 })
    await using page = await openAgent(world, 'alice')
    world.proxy.halfOpen('near')
    await chromium.window.setOffline(true)
    await chromium.window.setOffline(false)
    expect(await page.evaluate(() => tab.until('waiting'))).toMatchObject({ cause: { reason: 'silent' } })
    await page.evaluate(() => tab.until('open'))
    expect(await page.evaluate(() => sockets.most)).toBe(1)
  })

  it('is back after a sleep, of the hub or of the laptop, and after its clock was set back', async () => {
    await using world = await startWorld('process')
    await using page = await openAgent(world, 'alice')
    world.pauseHub()
    expect(await page.evaluate(() => tab.until('waiting'))).toMatchObject({ cause: { reason: 'silent' } })
    await page.evaluate(() => tab.send('alice', 'asleep'))
    world.resumeHub()
    await page.evaluate(() => tab.until('open'))
    expect(await page.evaluate(() => tab.got.has(1))).toEqual(['asleep'])
    await page.evaluate('globalThis.realNow = Date.now; Date.now = () => realNow() + 3_600_000')
    expect(await page.evaluate(() => tab.until('waiting'))).toMatchObject({ cause: { reason: 'silent' } })
    await page.evaluate(() => tab.until('open'))
    await page.evaluate('Date.now = realNow')
    world.pauseHub()
    expect(await page.evaluate(() => tab.until('waiting'))).toMatchObject({ cause: { reason: 'silent' } })
    world.resumeHub()
    await page.evaluate(() => tab.until('open'))
    expect(await page.evaluate(() => tab.answers)).toEqual({ asleep: 'stored' })
  })

  it('is one of two agents in two tabs; one that is closed is gone, the other one stays', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    await using first = await openAgent(world, 'first')
    await using second = await openAgent(world, 'second')
    await first.evaluate(() => tab.send('second', 'one'))
    await second.evaluate(() => tab.send('first', 'two'))
    expect(await first.evaluate(() => tab.got.has(1))).toEqual(['two'])
    expect(await second.evaluate(() => tab.got.has(1))).toEqual(['one'])
    await first.close()
    await untilOffline(bob, 'first')
    await bob.send('second', 'still there')
    expect(await second.evaluate(() => tab.got.has(2))).toEqual(['one', 'still there'])
  })

  it('that is reloaded while it sends comes back as the same agent; nothing is lost that was stored, nothing doubled', async () => {
    await using world = await startWorld()
    await using bob = await joinBeside(world)
    await using page = await openAgent(world, 'alice')
    const got = collect(bob)
    await page.evaluate(() => tab.send('bob', '0'))
    await got.has(1)
    const session = await page.evaluate(() => tab.client.session ?? '')
    const reloaded = page.waitForEvent('load')
    await page
      .evaluate(() => {
        for (let n = 1; n <= 50; n++) tab.send('bob', String(n))
        ;(globalThis as unknown as { location: { reload(): void } }).location.reload()
      })
      // The page may be gone before it has answered.
      .catch(() => undefined)
    await reloaded
    await page.evaluate(([url, old]) => tab.join(url, 'alice', { session: old }), [
      world.url,
      session,
    ] as const)
    expect(await stateOf(page)).toMatchObject({ type: 'open', resumed: true })
    await page.evaluate(() => tab.send('bob', 'after'))
    for (let count = 2; !got.items.includes('after'); count++) await got.has(count)
    const numbers = [...Array(51).keys()].map(String)
    expect(got.items).toEqual([...numbers.slice(0, got.items.length - 1), 'after'])
  })

  it('fetches a fresh token for each try, also when the last one has expired meanwhile', async () => {
    await using hub = await startScriptedHub()
    await using page = await openTab()
    await page.evaluate((url) => {
      let fetched = 0
      const token = async (): Promise<string> => `token ${++fetched}`
      Math.random = () => 0
      const joined = tab.join(url, 'alice', { token, closeTimeoutMs: 20 })
      Object.assign(globalThis, { joined })
    }, hub.url)
    const first = await hub.accept()
    expect(await first.welcome()).toMatchObject({ token: 'token 1' })
    await page.evaluate('joined')
    await page.evaluate(() => tab.send('bob', 'kept'))
    await first.next('send')
    first.close(4003, 'token expired')
    const second = await hub.accept()
    expect(await second.next('hello')).toMatchObject({ token: 'token 2' })
    second.close(4401, 'expired')
    const third = await hub.accept()
    expect(await third.welcome()).toMatchObject({ token: 'token 3', session: 'session-1' })
    third.ok(await third.next('send'), { id: 'm1', recipients: 1 })
    await page.evaluate(() => tab.client.close())
    expect(await page.evaluate(() => tab.answers)).toEqual({ kept: 'stored' })
  })
})
