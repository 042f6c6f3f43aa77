-- Makes the change of an agent whose deadline has come: lost → offline or gone, offline → gone.
-- KEYS[1..14] as in _registry.lua; KEYS[15..19] the agent's own keys
-- ARGV[1..4]  as in _dead.lua
-- ARGV[5] agent id  ARGV[6] retention (ms, 0: for ever)
-- Returns event texts
local id, retention = ARGV[5], tonumber(ARGV[6])

local deadline = redis.call('ZSCORE', DEADLINES, id)
if not deadline or tonumber(deadline) > now then return {} end
local state = load_state(id)
if not state then
  redis.call('ZREM', DEADLINES, id)
  return {}
end
if state.status == 'offline' then
  remove(id, 15, 'retention')
elseif state.ephemeral then
  remove(id, 15, 'unregistered')
else
  local old = state.status
  state.status, state.reason = 'offline', nil
  change('agent.status_changed', id, state, old, 'offline')
  if retention > 0 then redis.call('ZADD', DEADLINES, int(now + retention), id) else redis.call('ZREM', DEADLINES, id) end
end
elect()
announce()
return emitted
