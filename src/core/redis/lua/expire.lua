-- Makes the change of an agent whose deadline has come: lost → offline or gone, offline → gone.
-- KEYS[1..21] as in _registry.lua; KEYS[22..27] the agent's own keys; then the lanes of senders
-- ARGV[1..7]  as in _tasks.lua
-- ARGV[8] agent id; then senders as in _receipts.lua
-- Returns event texts
local id = ARGV[8]

local deadline = redis.call('ZSCORE', DEADLINES, id)
if not deadline or tonumber(deadline) > now then return {} end
local state = load_state(id)
if not state then
  -- See open.lua.
  redis.call('ZREM', DEADLINES, id)
  elect()
  tell()
  return emitted
end
if state.status == 'offline' or state.ephemeral then needs_removal(id, OWN, true) else needs_holds(id, true) end
if missing then return missing end

if state.status == 'offline' then
  remove(id, OWN, 'retention', true)
elseif state.ephemeral then
  remove(id, OWN, 'unregistered', true)
else
  hand_on(id, true)
  local old = state.status
  state.status, state.reason = 'offline', nil
  change('agent.status_changed', id, state, old, 'offline')
  if RETENTION > 0 then redis.call('ZADD', DEADLINES, int(now + RETENTION), id) else redis.call('ZREM', DEADLINES, id) end
end
elect()
tell()
return emitted
