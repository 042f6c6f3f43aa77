import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startTestHub } from '../src/testing/index.ts'
import { fencedBlocks } from './support/markdown.ts'
import { ROOT } from './support/run.ts'
import { replay } from './support/transcript.ts'

const page = readFileSync(join(ROOT, 'docs/writing-a-client.md'), 'utf8')
const transcripts = page
  .split(/^## /m)
  .flatMap((section) =>
    fencedBlocks(section, 'transcript').map((text) => [section.split('\n')[0] ?? '', text] as const),
  )

/** A hub as users have it, but for the times that a conversation is about. */
const settingsFor = (text: string) => ({
  heartbeatIntervalMs: /← \{"type":"ping"\}/.test(text) ? 200 : 20_000,
  heartbeatTimeoutMs: 10_000,
  ackTimeoutMs: text.includes('"revoked"') ? 300 : 60_000,
  graceMs: 5000,
})

describe('the conversations of docs/writing-a-client.md', () => {
  it('are all of its steps', () => {
    expect(transcripts.length).toBeGreaterThan(7)
  })

  it.each(transcripts)('happen with a real hub: %s', async (_title, text) => {
    await using hub = await startTestHub(settingsFor(text))
    await replay(text, hub.url)
  })
})

describe('a transcript that is not so fails', () => {
  const HELLO = 'lisa → {"type":"hello","ref":1,"protocol":1}'
  const play = async (...lines: string[]): Promise<void> => {
    await using hub = await startTestHub()
    await replay(['lisa connects', ...lines].join('\n'), hub.url)
  }

  it('at a frame with another value', async () => {
    const pong = 'lisa → {"type":"ping"}\nlisa ← {"type":"ping"}'
    await expect(play(HELLO, 'lisa ← {"type":"welcome","…":"…"}', pong)).rejects.toThrow(
      'line 5, lisa ← {"type":"ping"}\nthis came instead: {"type":"pong"}',
    )
  })

  it('at a frame with more fields, or fewer, than are shown', async () => {
    await expect(play(HELLO, 'lisa ← {"type":"welcome"}')).rejects.toThrow(
      'this came instead: {"type":"welcome"',
    )
    await expect(play(HELLO, 'lisa ← {"type":"welcome","song":"…","…":"…"}')).rejects.toThrow('came instead')
  })

  it('at a name that stands for something else now', async () => {
    const leader = (ref: number) =>
      `lisa → {"type":"leader","ref":${ref}}\nlisa ← {"type":"ok","ref":"<ref>","result":"…"}`
    const welcome = 'lisa ← {"type":"welcome","…":"…"}'
    await expect(play(HELLO, welcome, leader(2), leader(3))).rejects.toThrow('line 7')
  })

  it('at another close code, a line that is none, and a frame that nobody shows', async () => {
    await expect(play('lisa → nonsense', 'lisa is closed 4401')).rejects.toThrow('it was closed with 4400')
    await expect(play('lisa sings')).rejects.toThrow('no line of a transcript')
    const welcome = 'lisa ← {"type":"welcome","…":"…"}'
    await expect(play(HELLO, welcome, 'lisa → {"type":"leader","ref":2}')).rejects.toThrow(
      'lisa got more than is shown: [{"type":"ok","ref":2',
    )
  })
})
