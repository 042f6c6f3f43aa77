import { parseArgs } from 'node:util'
import { runSoak } from './soak.ts'

// `npm run soak -- --minutes 60`: hubs under mixed traffic, churn and kills; prints what is left over.
const { values } = parseArgs({ options: { minutes: { type: 'string', default: '1' } } })
const minutes = Number(values.minutes)
if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes}: must be a number above 0`)
const { rows, counts, missing, kills } = await runSoak({
  minutes,
  progress: (line) => process.stderr.write(`${line}\n`),
})
const cell = (value: number): string => value.toFixed(Number.isInteger(value) ? 0 : 1).padStart(9)
process.stdout.write(`${'without agents'.padEnd(30)}   before    after   at most\n`)
let failed = missing > 0 || counts.twice > 0
for (const { what, before, after, limit } of rows) {
  const over = after > limit
  failed ||= over
  process.stdout.write(
    `${what.padEnd(30)}${cell(before)}${cell(after)}${cell(limit)}${over ? '  TOO MUCH' : ''}\n`,
  )
}
process.stdout.write(
  `\n${values.minutes} min, ${kills} hubs ended and started; ${counts.sent} messages stored, ${counts.handled} handled, ${missing} missing, ${counts.twice} twice, ${counts.doneAgain} tasks done again; ` +
    `${counts.broadcasts} broadcasts and ${counts.chunks} chunks received, ${counts.broken} streams broken off; ${counts.churned} agents came and went\n`,
)
process.exitCode = failed ? 1 : 0
