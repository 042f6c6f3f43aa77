-- A sign of life of an agent that has no connection: its silence begins anew, and from offline it comes back.
-- KEYS[1..21] as in _registry.lua
-- ARGV[1..7]  as in _tasks.lua
-- ARGV[8] agent id  ARGV[9] door  ARGV[10] time until its silence makes it offline (ms)  ARGV[11] status or ''  ARGV[12] '1': the reason is given
-- ARGV[13] reason  ARGV[14] who has to own the agent, or '': not looked at; then senders: none
-- Returns false where no agent lives by heartbeats of this door under that id | {'not_owner'} | {clock (ms), leader or '', event texts …}
local id, door, stale, status, reason_given, reason = ARGV[8], ARGV[9], tonumber(ARGV[10]), ARGV[11], ARGV[12] == '1', ARGV[13]

local session = split_session(redis.call('HGET', SESSIONS, id))
if not is_of(door, session) then return false end
local state = load_state(id)
if ARGV[14] ~= '' and state.owner ~= ARGV[14] then return { 'not_owner' } end
redis.call('HSET', SESSIONS, id, session.fence .. ' - ' .. beat_mark(door, state))
redis.call('ZADD', DEADLINES, int(now + stale), id)

local old = state.status
local after = status ~= '' and status or (old == 'offline' and 'online' or old)
local changed = false
if reason_given then
  local before = state.reason
  state.reason = reason ~= '' and reason or nil
  changed = before ~= state.reason
end
if after ~= old then
  state.status = after
  change('agent.status_changed', id, state, old, after)
elseif changed then
  change('agent.updated', id, state)
end
if #emitted > 0 then
  elect()
  tell()
end
return { int(now), redis.call('HGET', META, 'leader') or '', unpack(emitted) }
