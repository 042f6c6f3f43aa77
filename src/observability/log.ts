import { pino, destination, type Logger } from 'pino'

export type Log = Pick<Logger, 'error' | 'warn' | 'info' | 'debug'> & {
  child(fields: Record<string, unknown>): Log
}

/** JSON lines on standard error, so that standard output stays for what a command answers. */
export function createLog(level: string): Log {
  return pino(
    { level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` },
    destination({ dest: 2, sync: false }),
  )
}
