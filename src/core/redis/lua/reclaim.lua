-- Makes a session live again that was declared lost, unless another one has the agent by now.
-- KEYS[1..21] as in _registry.lua
-- ARGV[1..7]  as in _tasks.lua
-- ARGV[8] agent id  ARGV[9] fence  ARGV[10] hub; then senders as in _receipts.lua
-- Returns false where the session is over, else event texts
local id, fence, hub = ARGV[8], ARGV[9], ARGV[10]

local session = split_session(redis.call('HGET', SESSIONS, id))
if not session or session.fence ~= fence then return false end
if session.live then return session.hub == hub and {} end

local state = load_state(id)
redis.call('HSET', SESSIONS, id, fence .. ' ' .. hub .. ' ' .. session.hash)
redis.call('ZREM', DEADLINES, id)
state.connected, state.hub = true, hub
change('agent.updated', id, state)
if state.status == 'offline' then
  state.status, state.reason = 'online', nil
  change('agent.status_changed', id, state, 'offline', 'online')
end
elect()
tell()
return emitted
