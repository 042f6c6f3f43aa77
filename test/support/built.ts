import { fileURLToPath } from 'node:url'

// A process that a test starts runs what is published: dist/ starts in a third of the time that the source takes.

/** The command `meshwire`, as the first argument of Node. */
export const COMMAND = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

/** What a module of such a process imports the client from: that of Node, or that of browsers. */
export const CLIENTS = {
  node: new URL('../../dist/client/node.js', import.meta.url).href,
  index: new URL('../../dist/client/index.js', import.meta.url).href,
} as const
