import { expect, test } from 'vitest'
import { toStoreError } from '../../src/core/redis/store-error.ts'

test.each([
  ['Reached the max retries per request limit (which is 0). Refer to "maxRetriesPerRequest"', 'was lost'],
  ["Stream isn't writeable and enableOfflineQueue options is false", 'not connected'],
  ['Connection is closed.', 'not connected'],
  ['Command timed out', 'takes too long'],
  ['connect ECONNREFUSED 127.0.0.1:6379', 'connect ECONNREFUSED 127.0.0.1:6379'],
])('a command that failed with %j is told without words of the driver', (said, told) => {
  const error = toStoreError(new Error(said))
  expect(error).toMatchObject({ code: 'store_unavailable', retryable: true })
  expect(error.message).toMatch(/^the store does not answer \(/)
  expect(error.message).toContain(told)
  expect(error.message).not.toMatch(/maxRetries|enableOfflineQueue|Command/)
})
