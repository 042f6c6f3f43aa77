/** What a hub is told; units, defaults and bounds are those of src/config.ts. */
export interface HubSettings {
  readonly heartbeatIntervalMs: number
  readonly heartbeatTimeoutMs: number
  readonly graceMs: number
  readonly retentionMs: number
  readonly hubLeaseMs: number
  readonly hubGraceMs: number
  readonly inboxMax: number
  readonly httpStaleMs: number
  readonly httpNamespace: string
  readonly httpMessageKinds: number
  readonly queueMax: number
  readonly ackTimeoutMs: number
  readonly maxMessageBytes: number
  readonly handshakesPerSecond: number
  readonly addressHandshakesPerSecond: number
  readonly trustedProxies: readonly string[]
  readonly ratePerSecond: number
  readonly rateBurst: number
  readonly principalRatePerSecond: number
  readonly principalRateBurst: number
  readonly namespaceAgentsMax: number
  readonly namespaceInboxBytesMax: number
  readonly host: string
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
  readonly mxpUdpRatePerSecond: number
  readonly mxpStaleMs: number
  readonly mxpNamespace: string
  readonly mxpRules: 'sdk' | 'strict'
}
