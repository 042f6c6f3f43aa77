import type { FromServer, ToServer } from './jobs.ts'

const tell = (message: FromServer): void => {
  process.send?.(message)
}

/** Says where this server listens, and from then on answers the bench: its usage when asked, its end when told. */
export function serve(url: string): void {
  process.on('message', (message: ToServer) => {
    if (message.type === 'stop') process.exit(0)
    if (message.collectGarbage) globalThis.gc?.()
    const { user, system } = process.cpuUsage()
    tell({ type: 'usage', usage: { cpuMs: (user + system) / 1000, rssBytes: process.memoryUsage.rss() } })
  })
  process.on('disconnect', () => process.exit(0))
  tell({ type: 'ready', url })
}
