-- Registers an agent that lives by heartbeats, or refreshes its registration.
-- KEYS[1..21]   as in _registry.lua
-- KEYS[22..27]  the agent's own keys; KEYS[28..33] those of the agent that is guessed to hold the name; then the lanes of senders
-- ARGV[1..7]    as in _tasks.lua
-- ARGV[8] agent id  ARGV[9] registration (JSON)  ARGV[10] door  ARGV[11] time until its silence makes it offline (ms)
-- ARGV[12] guessed name holder or ''  ARGV[13] when a new id was first registered (ms), before the store lost it, or ''
-- ARGV[14] owner, or '': nobody's  ARGV[15] agents of the namespace (0: no limit); then senders as in _receipts.lua
-- Returns {'not_owner'} | {'held'} | {'name_taken', holder} | {'holder', id}: the guess was wrong | {'full'} | {'registered', resumed 0/1, event texts …}
local id, registration, door, stale, holder_guess = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11]), ARGV[12]
local owner, agents_max = ARGV[14], tonumber(ARGV[15])

local state = load_state(id)
if state and not may_have(id, state, owner) then return { 'not_owner' } end
local session = split_session(redis.call('HGET', SESSIONS, id))
if session and not is_of(door, session) then return { 'held' } end

local fields = cjson.decode(registration)
-- Only one of the same door makes way for it: nobody ends others' agents from here.
local refused = take_name(id, fields.name, session, holder_guess, agents_max, function(other) return other.door == door and not is_anothers(other, owner) end)
if refused then return refused end

local resumed = state and 1 or 0
if state then
  local before = link(id, redis.call('HGET', AGENTS, id), false, door)
  redis.call('HDEL', NAMES, before.name)
else
  state = new_state(ARGV[13])
  redis.call('HSET', CURSORS, id, last_number(BROADCASTS))
end
link(id, registration, true, door)
redis.call('HSET', NAMES, fields.name, id)
redis.call('HSET', AGENTS, id, registration)
redis.call('ZADD', DEADLINES, int(now + stale), id)
state.connected, state.door, state.eligible, state.ephemeral = false, door, fields.leaderEligible, false
if owner ~= '' then state.owner = owner end
change(resumed == 1 and 'agent.updated' or 'agent.registered', id, state)
if state.status == 'offline' then
  state.status, state.reason = 'online', nil
  change('agent.status_changed', id, state, 'offline', 'online')
end
redis.call('HSET', SESSIONS, id, state.revision .. ' - ' .. beat_mark(door, state))
elect()
tell()
return { 'registered', resumed, unpack(emitted) }
