import { CONNECTING } from './connecting.ts'
import { HANDLING } from './handling.ts'
import { LOOKING } from './looking.ts'
import { SENDING } from './sending.ts'
import { Stage } from './stage.ts'
import type { Case, Library, World } from './stage.ts'
import { STREAMING } from './streaming.ts'

/** What a user of the client may rely on, in Node and in a browser alike. */
export const SUITE: readonly Case[] = [...CONNECTING, ...SENDING, ...HANDLING, ...STREAMING, ...LOOKING]

/** Runs one case with this client. @throws what the case found wrong */
export async function runCase(title: string, library: Library, world: World): Promise<void> {
  const found = SUITE.find((one) => one.title === title)
  if (found === undefined) throw new Error(`no case "${title}"`)
  const stage = new Stage(library, world)
  try {
    await found.run(stage)
  } finally {
    await stage.end()
  }
}
