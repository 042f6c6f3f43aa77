// What the demo prints, and what it has been told.
/** @type {Record<string, number>} */
const COLOURS = { hub: 35, watcher: 36, planner: 33, ada: 32, ben: 34, demo: 31 }
const coloured = process.stdout.isTTY && !process.env.NO_COLOR

/**
 * @param {number} code
 * @param {string} text
 */
const paint = (code, text) => (coloured ? `\u001B[${code}m${text}\u001B[0m` : text)

/** Prints who says what when, and waits for facts that agents have told. */
export class Story {
  #startedAt = Date.now()
  /** @type {Record<string, unknown>[]} */
  #facts = []
  #checked = 0
  /** What is waited for now. */
  #waiting = { what: 'the first agent', check: () => {} }

  /** @param {number} timeoutMs */
  constructor(timeoutMs) {
    const giveUp = () => this.fail(`nothing more happened within ${timeoutMs / 1000} s`)
    setTimeout(giveUp, timeoutMs).unref()
  }

  /** @param {string} title */
  chapter(title) {
    console.log(`\n${paint(1, title)}`)
  }

  /**
   * @param {string} who
   * @param {string} text
   */
  print(who, text) {
    const seconds = ((Date.now() - this.#startedAt) / 1000).toFixed(2).padStart(6)
    console.log(`${paint(2, seconds)}  ${paint(COLOURS[who] ?? 0, who.padEnd(8))} ${text}`)
  }

  /**
   * An agent says something.
   * @param {string} from
   * @param {{ text?: unknown }} fact
   */
  told(from, fact) {
    if (typeof fact.text === 'string') this.print(from, fact.text)
    this.#facts.push({ ...fact, from })
    this.#waiting.check()
  }

  /**
   * Waits until a fact has been told that has all fields of `wanted`; each fact serves once. Answers the fact.
   * @param {string} what
   * @param {Record<string, unknown>} wanted
   * @returns {Promise<Record<string, unknown>>}
   */
  until(what, wanted) {
    return new Promise((resolve) => {
      const check = () => {
        const index = this.#facts.findIndex((fact) =>
          Object.entries(wanted).every(([key, value]) => fact[key] === value),
        )
        if (index === -1) return
        const [fact] = this.#facts.splice(index, 1)
        this.#checked++
        this.#waiting = { what: `what follows on "${what}"`, check: () => {} }
        resolve(fact)
      }
      this.#waiting = { what, check }
      check()
    })
  }

  /**
   * Ends the demo, and with it every agent: they end when their channel to it is gone.
   * @param {string} why
   * @returns {never}
   */
  fail(why) {
    console.error(`\n${paint(31, `The demo failed: ${why};`)} it waited for this: ${this.#waiting.what}`)
    process.exit(1)
  }

  end() {
    const seconds = ((Date.now() - this.#startedAt) / 1000).toFixed(1)
    console.log(`\n${paint(32, `All of it happened: ${this.#checked} checks passed in ${seconds} s.`)}`)
  }
}
