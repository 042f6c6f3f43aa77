import { chai, JestAsymmetricMatchers, JestChaiExpect } from '@vitest/expect'
import type { ExpectStatic } from '@vitest/expect'

chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

/** The `expect` of vitest, without vitest, which does not run in a page. */
export const expect = chai.expect as unknown as ExpectStatic
