/*
 * Limits of the wire that are the same on every hub, with their units (PROTOCOL.md sections 1, 2, 4, 5 and 7). Each is an export of
 * its own, so that a bundle holds only those it uses.
 */
/** Characters of a string for which no other limit is said. */
export const stringChars = 256
export const nameMinChars = 3
export const nameMaxChars = 64
export const agentIdMaxChars = 128
/** Characters of an agent id or name as a target: agents of other doors have longer ones. */
export const targetMaxChars = 256
export const namespaceMaxChars = 64
export const capabilitiesMin = 1
export const capabilitiesMax = 20
export const capabilityMinChars = 2
export const capabilityMaxChars = 32
export const listMax = 20
/** Profiles of an agent that comes in over HTTP or MXP. */
export const foreignProfilesMax = 256
export const listItemMaxChars = 64
export const metadataMaxKeys = 64
export const metadataMaxBytes = 16_384
export const metricsMaxKeys = 64
export const concurrencyMax = 1024
export const windowMax = 10_000
export const windowDefault = 256
export const messageTypeMaxChars = 64
/** Levels of arrays and objects in a payload: what parsers of other languages accept too. */
export const payloadMaxDepth = 128
/** Sends of one producer without an answer, and answers remembered for repetition. */
export const producerWindow = 1024
/** Producers of one agent that are remembered. */
export const producersMax = 8
export const idsMax = 1000
/** Milliseconds; the longest time to live and the longest redelivery delay. */
export const durationMaxMs = 31_536_000_000
export const discoverLimitMax = 1000
export const discoverLimitDefault = 100
export const subscriptionsMax = 100
/** Streams one connection may have open, in either direction. */
export const streamsMax = 1000
/** Chunks of one `stream.credit`. */
export const streamCreditMax = 1_000_000
/** Characters of what a `stream.end` says went wrong. */
export const streamErrorChars = 1024
export const updatesPerSecond = 5
/** Bytes of JSON in one page of a registry list. */
export const pageBytes = 262_144
/** Ids a client remembers as processed. */
export const processedIds = 10_000
export const helloTimeoutMs = 10_000
/** What a frame may need besides its payload: maxPayloadBytes is that much below maxMessageBytes. */
export const frameOverheadBytes = 4096
