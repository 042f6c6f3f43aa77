import { readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { MeshError } from '../protocol/errors.ts'

/** A lock without text is one that is being written; after so many looks, one whose writer died. */
const LOOKS = 20
const LOOK_MS = 50

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * When a process began, as its system counts, since another one may have its number by now (in a container it usually has);
 * empty where the system does not tell, null where no such process runs.
 */
async function startOf(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The second field, the program's name in brackets, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? '')
  } catch {
    return isAlive(pid) ? '' : null
  }
}

async function readLock(path: string): Promise<string | null> {
  for (let look = 0; ; look++) {
    try {
      const text = await readFile(path, 'utf8')
      if (text !== '' || look === LOOKS) return text
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
    await delay(LOOK_MS)
  }
}

/** Who holds the lock, in words; null where its holder is gone. */
async function holder(text: string): Promise<string | null> {
  const [pid = '', start = '', host = ''] = text.trim().split(' ')
  if (!/^\d+$/.test(pid)) return null
  if (host !== hostname()) return `process ${pid} on "${host}"`
  const now = await startOf(Number(pid))
  if (now === null || (now !== '' && start !== '' && now !== start)) return null
  return `process ${pid}`
}

/** Moves a lock away whose holder is gone; leaves one alone that somebody has made meanwhile. */
async function breakLock(path: string, text: string): Promise<void> {
  const away = `${path}.${process.pid}`
  try {
    await rename(path, away)
    if ((await readFile(away, 'utf8')) === text) await unlink(away)
    else await rename(away, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/**
 * Makes a lock file with this process's number. One that a process has left that is gone (killed, or before a restart) is replaced.
 * Answers how to let go of it.
 * @throws MeshError `agent_taken` where a process that runs holds it
 */
export async function lockFile(path: string, name: string): Promise<() => Promise<void>> {
  const own = `${process.pid} ${(await startOf(process.pid)) ?? ''} ${hostname()}\n`
  for (;;) {
    try {
      await writeFile(path, own, { flag: 'wx', mode: 0o600 })
      return () => rm(path, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const text = await readLock(path)
    if (text === null) continue
    const who = await holder(text)
    if (who !== null) {
      throw new MeshError(
        'agent_taken',
        `${name} is in use by ${who}; close that client, or give this one an outbox and an id of its own (if no client has it, delete ${path})`,
        { details: path },
      )
    }
    await breakLock(path, text)
  }
}
