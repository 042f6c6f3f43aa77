import { runBroadcast } from './broadcast.ts'
import { runDirect, runQueue } from './direct.ts'
import type { Job, JobResult, ToLoad } from './jobs.ts'
import { tell } from './measure.ts'
import { discover, idle, register } from './registry.ts'

/** The load generator: a process of its own that does one job and tells the bench what it saw. */
async function run(job: Job): Promise<JobResult> {
  switch (job.kind) {
    case 'direct':
      return { kind: 'direct', flows: await runDirect(job) }
    case 'queue':
      return { kind: 'queue', flow: await runQueue(job) }
    case 'broadcast':
      return { kind: 'broadcast', flow: await runBroadcast(job) }
    case 'idle':
      return { kind: 'idle', connections: await idle(job) }
    case 'register':
      return { kind: 'register', result: await register(job) }
    case 'discover':
      return { kind: 'discover', latency: await discover(job) }
  }
}

process.on('disconnect', () => process.exit(1))
process.on('message', (message: ToLoad) => {
  if (message.type !== 'job') return
  run(message.job).then(
    (result) => tell({ type: 'result', result }),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
tell({ type: 'ready' })
