-- Changes an agent's registration, status or both.
-- KEYS[1..21] as in _registry.lua
-- ARGV[1..7]  as in _tasks.lua
-- ARGV[8] agent id  ARGV[9] fence  ARGV[10] registration (JSON) or ''  ARGV[11] status or ''  ARGV[12] '1': the reason is given
-- ARGV[13] reason; then senders: none
-- Returns false where the session is over, else event texts
local id, fence, registration, status, reason_given, reason = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12] == '1', ARGV[13]

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
tell()
return emitted
