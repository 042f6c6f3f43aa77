import { startHub } from 'meshwire'
import { serve } from './serve.ts'

/** The hub under test: embedded, or on the Redis whose URL is its argument. */
const redisUrl = process.argv[2]
const hub = await startHub({
  port: 0,
  ...(redisUrl === undefined ? {} : { redisUrl }),
  logLevel: 'error',
  // The load generator is not to be held back: what the limits cost is measured, that they bite is not.
  ratePerSecond: 0,
  handshakesPerSecond: 0,
  addressHandshakesPerSecond: 0,
  // Registered agents whose connection has gone stay online for the rest of the run.
  graceMs: 600_000,
})
serve(hub.url)
