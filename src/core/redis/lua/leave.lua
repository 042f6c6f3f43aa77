-- Ends an agent's session: lost, kept offline, or unregistered.
-- KEYS[1..14] as in _registry.lua; KEYS[15..19] the agent's own keys
-- ARGV[1..4]  as in _dead.lua
-- ARGV[5] agent id  ARGV[6] fence, or '' for whatever session there is  ARGV[7] lost | keep | unregister  ARGV[8] grace (ms)
-- ARGV[9] retention (ms, 0: for ever)  ARGV[10] '1': marks are known  ARGV[11] marks
-- Returns false where another session has the agent, else event texts
local id, fence, departure, grace, retention = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])

local session = split_session(redis.call('HGET', SESSIONS, id))
if not session or (fence ~= '' and fence ~= session.fence) then return false end
if session.live then
  redis.call('HSET', SESSIONS, id, session.fence .. ' - ' .. session.hash)
  if ARGV[10] == '1' then redis.call('HSET', MARKS, id, ARGV[11]) else mark_all(id, 15) end
end

local state = load_state(id)
if departure == 'unregister' or (departure == 'keep' and state.ephemeral) then
  remove(id, 15, 'unregistered')
else
  if state.connected then
    state.connected = false
    change('agent.updated', id, state)
    if departure == 'lost' then redis.call('ZADD', DEADLINES, int(now + grace), id) end
  end
  if departure == 'keep' and state.status ~= 'offline' then
    local old = state.status
    state.status, state.reason = 'offline', nil
    change('agent.status_changed', id, state, old, 'offline')
    if retention > 0 then redis.call('ZADD', DEADLINES, int(now + retention), id) else redis.call('ZREM', DEADLINES, id) end
  end
end
elect()
announce()
return emitted
