import type { HandlerRun } from './handler-run.ts'

/** Knows which run of a handler it is that calls. `AsyncLocalStorage` is one, and knows it after an `await` too. */
export interface Scope {
  run<Result>(run: HandlerRun, task: () => Result): Result
  getStore(): HandlerRun | undefined
}

/** For platforms that can't look across an `await`: knows it until a handler's first one. */
export function turnScope(): Scope {
  let current: HandlerRun | undefined
  return {
    run(run, task) {
      const before = current
      current = run
      try {
        return task()
      } finally {
        current = before
      }
    },
    getStore: () => current,
  }
}
