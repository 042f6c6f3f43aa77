import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

/** A module as a process of its own, with a channel for messages; one of TypeScript takes longer to start. */
export function forkModule(
  file: string,
  args: readonly string[],
  nodeArgs: readonly string[] = [],
): ChildProcess {
  return fork(file, args, {
    execArgv: [...(file.endsWith('.ts') ? ['--import', 'tsx'] : []), ...nodeArgs],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}

/** The next message of a process. @throws Error where it ends instead */
export async function told<Message>(child: ChildProcess): Promise<Message> {
  const abort = new AbortController()
  const { signal } = abort
  const exit = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`${child.spawnargs.at(-1) ?? 'a process'} ended with ${String(code)}`)
  })
  exit.catch(() => undefined)
  try {
    const [message] = (await Promise.race([once(child, 'message', { signal }), exit])) as [Message]
    return message
  } finally {
    abort.abort()
  }
}

/** Asks a process, which answers with one message. */
export async function ask<Message>(child: ChildProcess): Promise<Message> {
  const answer = told<Message>(child)
  child.send('report')
  return answer
}

/** Ends a process, by SIGKILL where nothing else is said, and waits until it is gone. */
export async function end(child: ChildProcess, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}
