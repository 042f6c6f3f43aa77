-- Changes an agent's registration, status or both.
-- KEYS[1..14] as in _registry.lua
-- ARGV[1..4]  as in _dead.lua
-- ARGV[5] agent id  ARGV[6] fence  ARGV[7] registration (JSON) or ''  ARGV[8] status or ''  ARGV[9] '1': the reason is given  ARGV[10] reason
-- Returns false where the session is over, else event texts
local id, fence, registration, status, reason_given, reason = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9] == '1', ARGV[10]

local session = split_session(redis.call('HGET', SESSIONS, id))
if not session or not session.live or session.fence ~= fence then return false end

local state = load_state(id)
local old = state.status
local changed = false
if reason_given then
  local before = state.reason
  state.reason = reason ~= '' and reason or nil
  changed = before ~= state.reason
end
if registration ~= '' then
  link(id, redis.call('HGET', AGENTS, id), false)
  local fields = link(id, registration, true)
  redis.call('HSET', AGENTS, id, registration)
  state.eligible = fields.leaderEligible
end
local status_changed = status ~= '' and status ~= old
if registration ~= '' or (changed and not status_changed) then change('agent.updated', id, state) end
if status_changed then
  state.status = status
  change('agent.status_changed', id, state, old, status)
end
elect()
announce()
return emitted
