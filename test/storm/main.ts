import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { runStorm } from './storm.ts'

// `npm run storm -- --clients 5000`: a fleet loses its hub and comes back to a new one; prints how that went.
const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '5000' },
    rate: { type: 'string', default: '500' },
    within: { type: 'string', default: '60' },
  },
})
const clients = Number(values.clients)
const files = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
if (files !== 'unlimited' && Number(files) < clients + 500) {
  process.stderr.write(
    `storm: ${clients} clients need ${clients + 500} file descriptors a process, this shell allows ${files}: raise \`ulimit -n\`, or take fewer --clients\n`,
  )
  process.exit(1)
}
const { starved, backMs, busy, peak, peakShare, answerMs } = await runStorm({
  clients,
  handshakesPerSecond: Number(values.rate),
  probes: 10,
  withinMs: Number(values.within) * 1_000,
})
const ms = (value: number): string => `${Math.round(value)} ms`
const rows: readonly (readonly [string, string])[] = [
  ['clients', String(clients)],
  ['handshakes a second allowed', values.rate],
  ['back after (half, 99 %, all)', `${ms(backMs.p50)}, ${ms(backMs.p99)}, ${ms(backMs.max)}`],
  ['not back', String(starved)],
  ['tries answered 503', String(busy)],
  ['most handshakes in 100 ms', `${peak} (${(100 * peakShare).toFixed(2)} % of the fleet)`],
  [
    `answers to other clients (${answerMs.count})`,
    `p50 ${answerMs.p50.toFixed(1)} ms, p99 ${answerMs.p99.toFixed(1)} ms, max ${answerMs.max.toFixed(1)} ms`,
  ],
]
for (const [what, value] of rows) process.stdout.write(`${what.padEnd(34)}${value}\n`)
process.exitCode = starved > 0 || peakShare >= 0.02 ? 1 : 0
