// Runs the tests: builds, finds a redis-server and a Chromium, runs vitest with the arguments given here, and ends with one plain line
// `N passed, N failed` (`, N skipped` where there are any). The exit code is vitest's.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
process.chdir(root)

/** Runs one of the scripts here; where it fails it has said why on stderr, and this ends with its exit code. */
function runScript(name, stdout) {
  const run = spawnSync(process.execPath, [join('scripts', name)], {
    stdio: ['ignore', stdout, 'inherit'],
    encoding: 'utf8',
  })
  if (run.status !== 0) process.exit(run.status ?? 1)
  return run.stdout
}

/** What vitest reported, as counts. A file that failed outside its tests counts as one failed test. */
function count(reportFile, status) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  let report
  try {
    report = JSON.parse(readFileSync(reportFile, 'utf8'))
  } catch (error) {
    console.error(`vitest wrote no report: ${error.message}`)
    return { ...counts, failed: 1 }
  }
  for (const file of report.testResults) {
    const failedBefore = counts.failed
    for (const test of file.assertionResults) {
      if (test.status === 'passed') counts.passed++
      else if (test.status === 'failed') counts.failed++
      else counts.skipped++
    }
    if (file.status === 'failed' && counts.failed === failedBefore) counts.failed++
  }
  // An unhandled error after the last test fails the run and belongs to no test.
  if (status !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}

runScript('build.mjs', 'inherit')
const lastLine = (text) => text.trim().split('\n').at(-1)
const REDIS_SERVER = lastLine(runScript('redis-server.mjs', 'pipe'))
const CHROMIUM = lastLine(runScript('chromium.mjs', 'pipe'))

const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
const directory = mkdtempSync(join(tmpdir(), 'meshwire-test-'))
const reportFile = join(directory, 'report.json')
const run = spawnSync(
  process.execPath,
  [
    vitest,
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportFile}`,
    ...process.argv.slice(2),
  ],
  { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, REDIS_SERVER, CHROMIUM } },
)
const status = run.status ?? 1
const { passed, failed, skipped } = count(reportFile, status)
rmSync(directory, { recursive: true, force: true })
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = status
