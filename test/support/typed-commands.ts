import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fencedBlocks } from './markdown.ts'
import { ROOT } from './run.ts'

/** A command as a page shows it, and what it says that is printed. */
export interface Step {
  readonly command: string
  readonly output: string
}

/** The commands of a page's blocks of a language, in order: lines that begin with `$ `, each with the lines below it. */
export function stepsOf(page: string, language = 'sh'): Step[] {
  return fencedBlocks(page, language).flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => {
        const at = step.indexOf('\n')
        return { command: step.slice(0, at), output: step.slice(at + 1).trimEnd() }
      }),
  )
}

/** What a command prints when it is typed, with the hub at `url` for the one that the page names. */
export async function type(command: string, url: string): Promise<string> {
  const real = command
    .replaceAll('127.0.0.1:7171', new URL(url).host)
    .replace(/^npx meshwire status/, `"${process.execPath}" dist/src/cli/main.js status --url ${url}`)
  const { stdout } = await promisify(execFile)('bash', ['-c', real], { cwd: ROOT })
  return stdout.trimEnd().replaceAll(url, 'http://127.0.0.1:7171')
}

/** What was printed, or what the page shows where that is the same but for its `…`, each of which stands for something. */
export function like(printed: string, shown: string): string {
  const pattern = shown
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[\\s\\S]+?')
  return new RegExp(`^${pattern}$`).test(printed) ? shown : printed
}

/** Without what differs from one run to the next: ids that hubs make, times, revisions, terms, ages. */
export const neutral = (output: string): string =>
  output
    .replace(/hub-[\w-]{8}/g, 'hub-…')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'time')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, 'message')
    .replace(/"id":"[0-9a-z]+[.-]\d+"|"messageId":"[0-9a-z]+[.-]\d+"/g, 'id')
    .replace(/"position":"\d+(?:-\d+)?"/g, 'position')
    .replace(/\d{14,}/g, 'revision')
    .replace(/"(leaseMs|oldestAgeMs)":\d+/g, '"$1":…')
    .replace(/\b\d+ (?:ms|s|min)\b *$/gm, 'a while')
