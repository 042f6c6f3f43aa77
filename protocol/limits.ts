/** Limits of the wire that are the same on every hub, with their units (PROTOCOL.md sections 1, 2, 4, 5 and 7). */
export const LIMITS = {
  /** Characters of a string for which no other limit is said. */
  stringChars: 256,
  nameMinChars: 3,
  nameMaxChars: 64,
  agentIdMaxChars: 128,
  /** Characters of an agent id or name as a target: agents of other doors have longer ones. */
  targetMaxChars: 256,
  namespaceMaxChars: 64,
  capabilitiesMin: 1,
  capabilitiesMax: 20,
  capabilityMinChars: 2,
  capabilityMaxChars: 32,
  listMax: 20,
  /** Profiles of an agent that comes in over HTTP or MXP. */
  foreignProfilesMax: 256,
  listItemMaxChars: 64,
  metadataMaxKeys: 64,
  metadataMaxBytes: 16_384,
  metricsMaxKeys: 64,
  concurrencyMax: 1024,
  windowMax: 10_000,
  windowDefault: 256,
  messageTypeMaxChars: 64,
  /** Levels of arrays and objects in a payload: what parsers of other languages accept too. */
  payloadMaxDepth: 128,
  /** Sends of one producer without an answer, and answers remembered for repetition. */
  producerWindow: 1024,
  /** Producers of one agent that are remembered. */
  producersMax: 8,
  idsMax: 1000,
  /** Milliseconds; the longest time to live and the longest redelivery delay. */
  durationMaxMs: 31_536_000_000,
  discoverLimitMax: 1000,
  discoverLimitDefault: 100,
  subscriptionsMax: 100,
  /** Streams one connection may have open, in either direction. */
  streamsMax: 1000,
  /** Chunks of one `stream.credit`. */
  streamCreditMax: 1_000_000,
  /** Characters of what a `stream.end` says went wrong. */
  streamErrorChars: 1024,
  updatesPerSecond: 5,
  /** Bytes of JSON in one page of a registry list. */
  pageBytes: 262_144,
  /** Ids a client remembers as processed. */
  processedIds: 10_000,
  helloTimeoutMs: 10_000,
  /** What a frame may need besides its payload: maxPayloadBytes is that much below maxMessageBytes. */
  frameOverheadBytes: 4096,
} as const

export const PROTOCOL_VERSION = 1
export const SUBPROTOCOL = 'meshwire.v1'
