import { createHash, randomBytes } from 'node:crypto'
import { nanoid } from 'nanoid'
import { type AgentFields, type Registration, show } from '../../../protocol/agent.ts'
import type { Hello } from '../../../protocol/commands.ts'
import { MeshError } from '../../../protocol/errors.ts'
import { LIMITS, PROTOCOL_VERSION } from '../../../protocol/limits.ts'
import type { Principal } from '../../auth/principal.ts'
import { may } from '../../auth/principal.ts'
import type { Cursor } from '../../core/broadcasts.ts'
import type { RegisterResult } from '../../core/registry.ts'
import type { Connection } from '../connection.ts'
import { Delivery } from '../delivery.ts'
import { Flight } from '../flight.ts'
import type { Namespace } from '../namespace.ts'
import { namespaceFull } from '../namespace-full.ts'
import { demand, need, registering } from '../needs.ts'
import type { Task } from '../../core/queues.ts'
import { Session } from '../session.ts'
import { demandLooking, demandNamespace, demandOwn, recheck } from '../standing.ts'
import { expiryText } from './auth.ts'
import { Worker } from '../worker.ts'

type Registered = Extract<RegisterResult, { outcome: 'registered' }>

/** Sessions are stored hashed: who reads the store cannot take an agent over. They are random, so a plain hash will do. */
const hashOf = (session: string): string => createHash('sha256').update(session).digest('base64url')

/** `hello`: registers the agent, or opens an observer connection. A failed one may be tried again. */
export async function hello(connection: Connection, frame: Hello): Promise<void> {
  connection.beginHello()
  try {
    await open(connection, frame)
  } catch (error) {
    connection.failHello()
    if (error instanceof MeshError && error.code === 'unauthorized') {
      connection.fail(frame.ref, error)
      connection.close('unauthorized')
      return
    }
    throw error
  }
}

/** Who says hello: what the handshake told, else whose token this is. @throws MeshError `unauthorized`, `internal` */
async function identify(connection: Connection, { token }: Hello): Promise<Principal> {
  const { admitted, hub } = connection
  const known = admitted === null ? null : connection.principal
  const principal = known ?? (await hub.authenticator.authenticate(token ?? null))
  connection.principal = principal
  return principal
}

/**
 * What is registered of an agent, checked against rules and permissions. Who may not lead and did not ask for it is not eligible.
 * @throws MeshError
 */
function permitted(
  { dialect }: Connection,
  principal: Principal,
  agent: AgentFields,
  agentId: string,
  namespace: string,
): Registration {
  const registration = dialect.register(agent)
  demandOwn(principal, agentId)
  demand(principal, registering(agentId, registration.capabilities))
  const lead = need('lead', 'namespace', namespace)
  if (!registration.leaderEligible || may(principal, lead.verb, lead.subject)) return registration
  if (agent.leaderEligible === true) demand(principal, [lead])
  return { ...registration, leaderEligible: false }
}

async function open(connection: Connection, frame: Hello): Promise<void> {
  const { hub } = connection
  if (frame.protocol !== PROTOCOL_VERSION) {
    throw new MeshError(
      'bad_frame',
      `protocol ${frame.protocol} is not spoken here; this hub speaks ${PROTOCOL_VERSION}`,
    )
  }
  if (hub.draining)
    throw new MeshError('draining', 'this hub is shutting down; connect to another one', { retryAfterMs: 0 })
  const principal = await identify(connection, frame)
  if (connection.state !== 'opening') return
  const name = frame.namespace ?? 'default'
  demandNamespace(principal, name)
  // Without an id: the token's subject, so that whoever starts again with it has its inbox.
  const agentId = frame.agent?.id ?? principal.subject ?? nanoid()
  const registration = frame.agent ? permitted(connection, principal, frame.agent, agentId, name) : null
  if (!registration) demandLooking(principal, name)
  const namespace = await hub.namespace(name)
  if (connection.state !== 'opening') return
  if (!registration) {
    connection.welcome(namespace, null)
    connection.push(welcomeText(connection, namespace, frame, null))
    hub.onWelcomed(connection)
    await recheck(connection, principal)
    return
  }
  const session = randomBytes(18).toString('base64url')
  const registered = await register(connection, namespace, agentId, registration, frame, hashOf(session))
  if (registered === null) return
  const { cursor, tasks } = await openStored(namespace, agentId, registered).finally(() =>
    namespace.opening.delete(registered.fence),
  )
  const opened = openSession(connection, namespace, agentId, registration, frame, registered, cursor)
  namespace.onEvents(registered.events)
  await namespace.reached(registered.events.at(-1)?.revision ?? 0)
  const end = namespace.endOf(opened)
  if (connection.state === 'opening' && end !== null) connection.close(end)
  if (connection.state !== 'opening') {
    // The client left, or lost the agent, while it was being registered.
    if (namespace.session(agentId) === opened) await opened.leave('lost')
    return
  }
  connection.welcome(namespace, opened)
  connection.push(welcomeText(connection, namespace, frame, { agentId, session, registered, tasks }))
  opened.delivery.start()
  opened.worker.start(tasks)
  hub.onWelcomed(connection)
  await recheck(connection, principal)
}

/**
 * Registers; where a live session holds the id and the client has no proof, that one is asked whether it lives. Null where the client has
 * gone meanwhile: its word may be an old one, held up on the way to the store, and the holder its own next session.
 */
async function register(
  connection: Connection,
  namespace: Namespace,
  agentId: string,
  registration: Registration,
  frame: Hello,
  sessionHash: string,
): Promise<Registered | null> {
  const subject = connection.principal?.subject ?? null
  let silentFence: number | null = null
  for (;;) {
    const result = await namespace.core.registry.register(namespace.name, {
      agentId,
      registration,
      hub: namespace.hub,
      sessionHash,
      proofHash: frame.session ? hashOf(frame.session) : null,
      proved: subject !== null,
      owner: subject,
      silentFence,
      producer: frame.producer ?? null,
      registeredAt: namespace.registeredBefore(agentId),
    })
    if (result.outcome === 'registered') {
      // At once: who was told right after this that the id is held asks for this very session.
      namespace.opening.add(result.fence)
      return result
    }
    if (result.outcome === 'name_taken') {
      throw new MeshError(
        'name_taken',
        `name ${show(registration.name)} belongs to agent ${show(result.holder)}, which is not offline${subject === null ? '' : " or another principal's"}; choose another`,
        {
          retryAfterMs: 1_000,
        },
      )
    }
    if (result.outcome === 'not_owner') {
      throw new MeshError(
        'forbidden',
        `agent ${show(agentId)} was registered by another principal than ${show(subject)}; choose another id`,
      )
    }
    if (result.outcome === 'full') {
      throw namespaceFull(namespace)
    }
    if (result.hub === null) {
      throw new MeshError(
        'agent_taken',
        `agent ${show(agentId)} is a member over HTTP or MXP that is not offline; choose another id`,
        { retryAfterMs: 10_000 },
      )
    }
    if (connection.state !== 'opening') return null
    if (await namespace.probes.isAlive(agentId, result.hub, result.fence)) {
      throw new MeshError(
        'agent_taken',
        `agent ${show(agentId)} has a live session; present its session, or choose another id`,
        {
          retryAfterMs: 10_000,
        },
      )
    }
    if (connection.state !== 'opening') return null
    silentFence = result.fence
  }
}

/**
 * Where the new session goes on: its place in the log, and the work that the agent holds. Without these there can be none: then the agent is not
 * connected after all.
 */
async function openStored(
  namespace: Namespace,
  agentId: string,
  { fence, holding }: Registered,
): Promise<{ cursor: Cursor; tasks: readonly Task[] }> {
  const { core, name, settings } = namespace
  try {
    const [cursor, tasks] = await Promise.all([
      core.broadcasts.open(name, agentId),
      holding > 0 ? core.queues.resume(name, agentId, fence) : [],
    ])
    return { cursor, tasks }
  } catch (error) {
    const leave = { agentId, fence, departure: 'lost', graceMs: settings.graceMs, marks: null } as const
    await core.registry.leave(name, leave).catch((cause: unknown) => namespace.onStoreError(cause))
    throw error
  }
}

function openSession(
  connection: Connection,
  namespace: Namespace,
  agentId: string,
  registration: Registration,
  frame: Hello,
  registered: Registered,
  cursor: Cursor,
): Session {
  const flight = new Flight(namespace.metrics, connection.hub.tracing, namespace.name, agentId)
  const delivery = new Delivery(
    {
      namespace: namespace.name,
      agentId,
      fence: registered.fence,
      core: namespace.core,
      outbox: connection.outbox,
      flight,
      settler: namespace.settler,
      log: namespace.broadcasts,
      window: frame.window ?? LIMITS.windowDefault,
      marks: registered.marks,
      onError: (error) => namespace.onStoreError(error),
      onRoom: () => worker.onRoom(),
      onWentBack: () => {
        delivery.forget()
        connection.close('hub_failed')
      },
    },
    cursor,
  )
  const sender = { agentId, fence: registered.fence, hub: namespace.hub, producer: frame.producer ?? null }
  const worker = new Worker({
    sender,
    capabilities: registration.capabilities,
    concurrency: registration.concurrency,
    delivery,
    connection,
    work: namespace.work,
    flight,
  })
  const session = new Session(connection, namespace, sender, registered.producerBase, delivery, worker)
  namespace.add(session)
  return session
}

interface Opened {
  readonly agentId: string
  readonly session: string
  readonly registered: Registered
  readonly tasks: readonly Task[]
}

function welcomeText(
  connection: Connection,
  namespace: Namespace,
  frame: Hello,
  agent: Opened | null,
): string {
  const { hub } = connection
  const { heartbeatIntervalMs, heartbeatTimeoutMs, maxMessageBytes, ackTimeoutMs } = hub.settings
  return JSON.stringify({
    type: 'welcome',
    ref: frame.ref,
    protocol: PROTOCOL_VERSION,
    hub: hub.id,
    namespace: namespace.name,
    session: agent?.session ?? null,
    resumed: agent?.registered.resumed ?? false,
    agent: agent ? (namespace.replica.get(agent.agentId)?.info ?? null) : null,
    leader: namespace.replica.leader,
    revision: namespace.replica.revision,
    pending: agent?.registered.pending ?? 0,
    work: agent?.tasks.map(({ id }) => id) ?? [],
    time: new Date().toISOString(),
    expiresAt: expiryText(connection),
    heartbeat: { intervalMs: heartbeatIntervalMs, timeoutMs: heartbeatTimeoutMs },
    limits: {
      maxMessageBytes,
      maxPayloadBytes: hub.maxPayloadBytes,
      window: frame.window ?? LIMITS.windowDefault,
      ackTimeoutMs,
    },
  })
}
