import { Schedule, type Scheduled } from './schedule.ts'
import type { StoredTask } from './task.ts'

/** Tasks that the same agent lost last (or nobody), in order. */
class Line implements Scheduled {
  slot = -1
  readonly lostBy: string | null
  readonly tasks = new Schedule<StoredTask>((task) => task.number)

  constructor(lostBy: string | null) {
    this.lostBy = lostBy
  }
}

const frontOf = (line: Line): number => line.tasks.first?.number ?? Number.POSITIVE_INFINITY

/**
 * The tasks of a queue that wait, in order, in a line for each agent that lost them last: so the first one that an agent may
 * have is found whatever lies before it. `lostBy` of a task must not change while it waits.
 */
export class WaitingTasks {
  readonly #lines = new Map<string | null, Line>()
  readonly #order = new Schedule<Line>(frontOf)
  #size = 0

  get size(): number {
    return this.#size
  }

  add(task: StoredTask): void {
    let line = this.#lines.get(task.lostBy)
    if (line === undefined) {
      line = new Line(task.lostBy)
      this.#lines.set(task.lostBy, line)
    }
    this.#size += 1
    if (task.number > frontOf(line) && line.slot >= 0) {
      line.tasks.add(task)
      return
    }
    this.#order.remove(line)
    line.tasks.add(task)
    this.#order.add(line)
  }

  /** Nothing happens where it does not wait. */
  remove(task: StoredTask): void {
    const line = this.#lines.get(task.lostBy)
    if (task.slot < 0 || line === undefined) return
    this.#size -= 1
    if (line.tasks.first !== task) {
      line.tasks.remove(task)
      return
    }
    this.#order.remove(line)
    line.tasks.remove(task)
    if (line.tasks.first === undefined) this.#lines.delete(task.lostBy)
    else this.#order.add(line)
  }

  /** The first one that `passedOver` did not lose last; null: the first one of all. */
  first(passedOver: string | null): StoredTask | undefined {
    const line = this.#order.first
    if (line === undefined || passedOver === null || line.lostBy !== passedOver) return line?.tasks.first
    this.#order.remove(line)
    const next = this.#order.first
    this.#order.add(line)
    return next?.tasks.first
  }
}
