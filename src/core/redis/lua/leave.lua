-- Ends an agent's session: lost, kept offline, or unregistered.
-- KEYS[1..21] as in _registry.lua; KEYS[22..27] the agent's own keys; then the lanes of senders
-- ARGV[1..7]  as in _tasks.lua
-- ARGV[8] agent id  ARGV[9] fence, or '' for whatever session there is  ARGV[10] lost | keep | unregister  ARGV[11] grace (ms)
-- ARGV[12] '1': marks are known  ARGV[13] marks  ARGV[14] door by whose heartbeats the agent has to live, or ''  ARGV[15] with a door: who has to
--   own the agent, or '': not looked at; then senders as in _receipts.lua
-- Returns false where another session, or something else than heartbeats of this door, has the agent | 'not_owner' | event texts
local id, fence, departure, grace = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])

local session = split_session(redis.call('HGET', SESSIONS, id))
if not session or (fence ~= '' and fence ~= session.fence) then return false end
if ARGV[14] ~= '' and not is_of(ARGV[14], session) then return false end

local state = load_state(id)
if ARGV[14] ~= '' and ARGV[15] ~= '' and state.owner ~= ARGV[15] then return 'not_owner' end
local removed = departure == 'unregister' or (departure == 'keep' and state.ephemeral)
if removed then needs_removal(id, OWN, false) elseif departure == 'keep' then needs_holds(id, false) end
if missing then return missing end

if session.live then
  redis.call('HSET', SESSIONS, id, session.fence .. ' - ' .. session.hash)
  if ARGV[12] == '1' then redis.call('HSET', MARKS, id, ARGV[13]) else mark_all(id, OWN) end
end

if removed then
  remove(id, OWN, 'unregistered', false)
else
  if state.connected then
    state.connected = false
    change('agent.updated', id, state)
    if departure == 'lost' then redis.call('ZADD', DEADLINES, int(now + grace), id) end
  end
  if departure == 'keep' then hand_on(id, false) end
  if departure == 'keep' and state.status ~= 'offline' then
    local old = state.status
    state.status, state.reason = 'offline', nil
    change('agent.status_changed', id, state, old, 'offline')
    if RETENTION > 0 then redis.call('ZADD', DEADLINES, int(now + RETENTION), id) else redis.call('ZREM', DEADLINES, id) end
  end
end
elect()
tell()
return emitted
