export type { Client } from '../../client/node.ts'
export type { FakeAgent, FakeAgentOptions, FakeSendOptions } from './fake-agent.ts'
export type { NextOptions } from './received.ts'
export type { FailOptions, ScriptOptions } from './script.ts'
export {
  type RestartOptions,
  startTestHub,
  type TestClientOptions,
  type TestHub,
  type TestHubOptions,
} from './test-hub.ts'
