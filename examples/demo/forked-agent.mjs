import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** An agent of the demo, in a process of its own. */
export class ForkedAgent {
  #child
  #story
  #exit
  #name
  /** Whether its end is part of the story. */
  #mayEnd = false

  /**
   * @param {import('./story.mjs').Story} story
   * @param {string} name
   * @param {string} file
   * @param {Record<string, string>} env
   */
  constructor(story, name, file, env) {
    this.#story = story
    this.#name = name
    const path = fileURLToPath(new URL(file, import.meta.url))
    this.#child = fork(path, [name], { env: { ...process.env, ...env } })
    this.#child.on('message', (fact) => story.told(name, /** @type {object} */ (fact)))
    this.#exit = once(this.#child, 'exit')
    this.#child.once('exit', (code, signal) => {
      if (!this.#mayEnd) story.fail(`${name} ended (${signal ?? `exit code ${code}`})`)
    })
  }

  /** @param {unknown} what */
  order(what) {
    this.#child.send(/** @type {any} */ (what))
  }

  /** Ends it with SIGKILL: it cannot say good-bye. */
  async kill() {
    this.#mayEnd = true
    this.#story.print('demo', `SIGKILL to ${this.#name} (process ${this.#child.pid})`)
    this.#child.kill('SIGKILL')
    await this.#exit
  }

  /** Lets it close its client; its process then ends by itself. */
  async leave() {
    this.#mayEnd = true
    this.order('leave')
    const [code, signal] = await this.#exit
    if (code !== 0) this.#story.fail(`${this.#name} left with ${signal ?? `exit code ${code}`}`)
  }
}
