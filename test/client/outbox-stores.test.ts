import { IDBFactory } from 'fake-indexeddb'
import { appendFile, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { fileOutbox } from '../../client/file.ts'
import type { Client, Outbox } from '../../client/node.ts'
import { connect } from '../../client/node.ts'
import type { StatusEvent } from '../../client/status.ts'
import { collector } from '../support/collector.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Fate } from '../support/fault-proxy.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { WebLocks } from '../support/web-locks.ts'

// Its types need a browser's, which Node's programs do not have.
const browser = new URL('../../client/indexeddb.ts', import.meta.url).href
const { indexedDbOutbox } = (await import(browser)) as { indexedDbOutbox: (name: string) => Outbox }

vi.stubGlobal('indexedDB', new IDBFactory())
vi.stubGlobal('navigator', { locks: new WebLocks() })
const folder = await mkdtemp(join(tmpdir(), 'meshwire-outbox-'))
afterAll(async () => {
  vi.unstubAllGlobals()
  await rm(folder, { recursive: true })
})

let outboxes = 0
let path = ''
beforeEach(() => {
  path = join(folder, `${++outboxes}`)
  vi.spyOn(Math, 'random').mockReturnValue(0)
})

const STORES: readonly (readonly [string, () => Outbox])[] = [
  ['a file', () => fileOutbox(path)],
  ['IndexedDB', () => indexedDbOutbox(path)],
]

interface Joining {
  readonly outbox?: Outbox
  readonly namespace?: string
  readonly onStatus?: (event: StatusEvent) => void
}

function enter(url: string, id: string, options: Joining = {}): Promise<Client> {
  return connect({ url, name: id, id, capabilities: ['test'], closeTimeoutMs: 20, ...options })
}

describe.each(STORES)('an outbox in %s', (_title, make) => {
  it('changes nothing for who waits: a send resolves when it is stored, rejects when it is refused', async () => {
    await using hub = await startTestHub('memory')
    await using alice = await enter(hub.url, 'alice', { outbox: make() })
    await using bob = await enter(hub.url, 'bob')
    const got = collector(bob)
    const sends = Array.from({ length: 100 }, (_, n) => alice.send('bob', n))
    expect((await Promise.all(sends)).every(({ recipients }) => recipients === 1)).toBe(true)
    expect(await got.has(100)).toEqual([...Array(100).keys()])
    await expect(alice.send('nobody', 1)).rejects.toMatchObject({ code: 'unknown_target' })
    bob.onMessage<number>('query', ({ payload }) => payload + 1)
    expect((await alice.request('bob', 1)).payload).toBe(2)
  })

  it('keeps what has no answer for the next client, which tells what becomes of it', async () => {
    await using hub = await startTestHub('memory')
    await using proxy = await startFaultProxy(hub.url)
    await using bob = await enter(hub.url, 'bob')
    const got = collector(bob)
    const before = await enter(proxy.url, 'alice', { outbox: make() })
    const big = 'ä'.repeat(10_000)
    proxy.decide = (way, { type }) => (way === 'toClient' && type === 'ok' ? 'hold' : 'pass')
    const sends = [
      before.send('bob', 'a', { type: 'task_result' }),
      before.send('bob', big),
      before.send('nobody', 'c'),
    ]
    await got.has(2)
    await before.close()
    for (const send of sends) await expect(send).rejects.toMatchObject({ name: 'AbortError' })
    const events: StatusEvent[] = []
    await using after = await enter(hub.url, 'alice', {
      outbox: make(),
      onStatus: (event) => events.push(event),
    })
    await after.send('bob', 'd')
    expect(events.filter(({ type }) => type === 'outbox_sent' || type === 'send_failed')).toEqual([
      {
        type: 'outbox_sent',
        to: { agent: 'bob' },
        messageType: 'task_result',
        result: { id: expect.any(String) as unknown, recipients: 1, duplicate: true },
      },
      expect.objectContaining({ type: 'outbox_sent', messageType: 'notification' }),
      expect.objectContaining({
        type: 'send_failed',
        to: { agent: 'nobody' },
        error: expect.objectContaining({ code: 'unknown_target' }) as unknown,
      }),
    ])
    expect(await got.has(3)).toEqual(['a', big, 'd'])
  })

  it('is for one client at a time, and free when that one is closed or could not connect', async () => {
    await using hub = await startTestHub('memory')
    const first = await enter(hub.url, 'alice', { outbox: make() })
    const second = enter(hub.url, 'alice', { outbox: make() })
    await expect(second).rejects.toMatchObject({ code: 'agent_taken' })
    await expect(second).rejects.toThrow(/is in use by .*; close that/)
    await first.close()
    const outbox = make()
    const refused = connect({ url: hub.url, name: '!', id: 'alice', capabilities: ['test'], outbox })
    await expect(refused).rejects.toMatchObject({ code: 'invalid_name' })
    await using third = await enter(hub.url, 'alice', { outbox })
    await third.close()
    await using _fourth = await enter(hub.url, 'alice', { outbox })
  })

  it('refuses another agent while it keeps something, and a client without an id always', async () => {
    await using hub = await startTestHub('memory')
    await using proxy = await startFaultProxy(hub.url)
    const alice = await enter(proxy.url, 'alice', { outbox: make() })
    proxy.decide = (way) => (way === 'toHub' ? 'lose' : 'pass')
    void alice.send('alice', 'left')
    await alice.close()
    await expect(enter(hub.url, 'bob', { outbox: make() })).rejects.toMatchObject({ code: 'invalid_agent' })
    await expect(enter(hub.url, 'alice', { namespace: 'other', outbox: make() })).rejects.toThrow(
      'give each agent an outbox of its own',
    )
    const anonymous = connect({ url: hub.url, name: 'alice', capabilities: ['test'], outbox: make() })
    await expect(anonymous).rejects.toThrow('an outbox needs an id')
    await using again = await enter(hub.url, 'alice', { outbox: make() })
    expect(await collector(again).has(1)).toEqual(['left'])
  })
})

describe.each(CORES)('what is too old when its client is back (%s)', (core) => {
  it('is told as sent where the hub had stored it in time, else as failed, and what comes behind it is sent', async () => {
    await using hub = await startTestHub(core)
    await using proxy = await startFaultProxy(hub.url)
    await using bob = await enter(hub.url, 'bob')
    const got = collector(bob)
    const before = await enter(proxy.url, 'alice', { outbox: fileOutbox(path) })
    let sends: Fate = 'pass'
    proxy.decide = (_way, { type }) => (type === 'ok' ? 'hold' : type === 'send' ? sends : 'pass')
    void before.send('bob', 'in time', { ttlMs: 300 })
    await got.has(1)
    sends = 'lose'
    void before.send('bob', 'late', { ttlMs: 300 })
    void before.send('bob', 'without end')
    await vi.waitFor(async () => expect(await readFile(path, 'utf8')).toContain('without end'))
    await before.close()
    await new Promise((resolve) => setTimeout(resolve, 300))
    const events: StatusEvent[] = []
    const onStatus = (event: StatusEvent): void => void events.push(event)
    await using after = await enter(hub.url, 'alice', { outbox: fileOutbox(path), onStatus })
    await after.send('bob', 'new')
    expect(await got.has(3)).toEqual(['in time', 'without end', 'new'])
    expect(events.filter(({ type }) => type === 'outbox_sent' || type === 'send_failed')).toMatchObject([
      { type: 'outbox_sent', result: { recipients: 1, duplicate: true } },
      { type: 'send_failed', error: { name: 'TimeoutError' } },
      { type: 'outbox_sent' },
    ])
  })
})

describe('the file of an outbox', () => {
  const left = async (url: string, payloads: readonly unknown[]): Promise<void> => {
    await using proxy = await startFaultProxy(url)
    const alice = await enter(proxy.url, 'alice', { outbox: fileOutbox(path) })
    proxy.decide = (way) => (way === 'toHub' ? 'lose' : 'pass')
    for (const payload of payloads) {
      void alice.send('alice', payload)
      await vi.waitFor(async () => expect(await readFile(path, 'utf8')).toContain(`\\"${String(payload)}\\"`))
    }
    await alice.close()
  }

  it('may end in the middle of a line, which is ignored; the others are kept', async () => {
    await using hub = await startTestHub('memory')
    await left(hub.url, ['a', 'b'])
    await appendFile(path, '{"put":[[3,{"to":{"agent":"alice"},"tail":",\\"to\\":{\\"ag')
    await using alice = await enter(hub.url, 'alice', { outbox: fileOutbox(path) })
    expect(await collector(alice).has(2)).toEqual(['a', 'b'])
    await alice.send('alice', 'c')
  })

  it('that is damaged elsewhere is refused, with its line, and let go of', async () => {
    await using hub = await startTestHub('memory')
    await left(hub.url, ['a', 'b'])
    const lines = (await readFile(path, 'utf8')).split('\n')
    await writeFile(path, [lines[0]?.slice(0, -5), ...lines.slice(1)].join('\n'))
    for (const _again of [1, 2]) {
      const refused = enter(hub.url, 'alice', { outbox: fileOutbox(path) })
      await expect(refused).rejects.toMatchObject({ code: 'store_unavailable' })
      await expect(refused).rejects.toThrow(`${path} is damaged in line 1; move it away`)
    }
  })

  it('is written anew when it has grown, and holds what has no answer', async () => {
    await using hub = await startTestHub('memory')
    await using proxy = await startFaultProxy(hub.url)
    const alice = await enter(proxy.url, 'alice', { outbox: fileOutbox(path) })
    await using bob = await enter(hub.url, 'bob')
    const got = collector(bob)
    const big = 'x'.repeat(100_000)
    for (let n = 0; n < 40; n++) await alice.send('bob', big)
    expect((await stat(path)).size).toBeLessThan(1_500_000)
    await got.has(40)
    proxy.decide = (way) => (way === 'toHub' ? 'lose' : 'pass')
    const sends = Array.from({ length: 20 }, () => alice.send('bob', big))
    for (let n = 0; n < 20; n++) void alice.send('bob', n)
    await alice.close()
    await Promise.allSettled(sends)
    await using again = await enter(hub.url, 'alice', { outbox: fileOutbox(path) })
    const later = await got.has(80)
    expect(later.slice(40).map((payload) => (payload === big ? 'big' : payload))).toEqual([
      ...Array<string>(20).fill('big'),
      ...Array(20).keys(),
    ])
    await again.close()
    expect((await stat(path)).size).toBeLessThan(65_536)
    expect((await readdir(folder)).filter((name) => name.startsWith(`${outboxes}`))).toEqual([`${outboxes}`])
  })

  it('on a disk that is full keeps nothing of what is rejected, and goes on when there is room', async () => {
    await using hub = await startTestHub('memory')
    const alice = await enter(hub.url, 'alice', { outbox: fileOutbox(path) })
    const got = collector(alice)
    await alice.send('alice', 'before')
    const handle = await open(path)
    const write = vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'write')
    await handle.close()
    write.mockImplementation(async function (this: typeof handle, line: Uint8Array, at, length, position) {
      if (at === 0)
        return this.writev([line.subarray(0, 10)], position as number).then(() => ({
          bytesWritten: 10,
          buffer: line,
        }))
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', length })
    } as typeof handle.write)
    const refused = alice.send('alice', 'refused')
    await expect(refused).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    await expect(refused).rejects.toThrow(`${path} cannot keep the send, so it was not sent: ENOSPC`)
    expect((await readFile(path, 'utf8')).endsWith('}\n')).toBe(true)
    write.mockRestore()
    await alice.send('alice', 'after')
    expect(await got.has(2)).toEqual(['before', 'after'])
    await alice.close()
    await using again = await enter(hub.url, 'alice', { outbox: fileOutbox(path) })
    await again.send('alice', 'at last')
  })

  it('that a process has locked which is gone is taken over; one that runs elsewhere, or here, is not', async () => {
    await using hub = await startTestHub('memory')
    const gone = [`999999 5 ${hostname()}\n`, `${process.pid} 1 ${hostname()}\n`, '']
    for (const lock of gone) {
      await writeFile(`${path}.lock`, lock)
      const alice = await enter(hub.url, 'alice', { outbox: fileOutbox(path) })
      await alice.close()
    }
    for (const [lock, who] of [
      ['1 5 elsewhere\n', 'process 1 on "elsewhere"'],
      [`${process.ppid} `, `process ${process.ppid}`],
    ] as const) {
      await writeFile(`${path}.lock`, lock.includes('elsewhere') ? lock : `${process.ppid}  ${hostname()}\n`)
      await expect(enter(hub.url, 'alice', { outbox: fileOutbox(path) })).rejects.toThrow(
        `${path} is in use by ${who}; close that client, or give this one an outbox and an id of its own (if no client has it, delete ${path}.lock)`,
      )
    }
  })

  it('is for its owner to read, and its directory has to exist', async () => {
    await using hub = await startTestHub('memory')
    await using _alice = await enter(hub.url, 'alice', { outbox: fileOutbox(path) })
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const nowhere = enter(hub.url, 'bob', { outbox: fileOutbox(join(folder, 'none', 'outbox')) })
    await expect(nowhere).rejects.toThrow('ENOENT')
  })
})
