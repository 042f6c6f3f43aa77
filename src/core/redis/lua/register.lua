-- Registers an agent, or moves it to a new session, atomically with names, leader and events.
-- KEYS[1..21]   as in _registry.lua
-- KEYS[22..27]  the agent's own keys; KEYS[28..33] those of the agent that is guessed to hold the name; then the lanes of senders
-- ARGV[1..7]    as in _tasks.lua
-- ARGV[8] agent id  ARGV[9] registration (JSON)  ARGV[10] hub  ARGV[11] session hash  ARGV[12] proof hash or ''
-- ARGV[13] '1': proved  ARGV[14] fence of a silent holder or ''  ARGV[15] producer or ''  ARGV[16] guessed name holder or ''
-- ARGV[17] producers remembered  ARGV[18] slots of a producer  ARGV[19] when a new id was first registered (ms), before the store lost it, or ''
-- ARGV[20] owner, or '': nobody's  ARGV[21] agents of the namespace (0: no limit); then senders as in _receipts.lua
-- Returns {'not_owner'} | {'held', hub (or '': it lives by heartbeats), fence} | {'name_taken', holder} | {'holder', id}: the guess was wrong |
--         {'full'} | {'registered', fence, resumed 0/1, displaced hub or '', its fence, producer base, pending, holding, marks, event texts …}
local id, registration, hub, hash, proof = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local proved, silent_fence, producer, holder_guess = ARGV[13] == '1', ARGV[14], ARGV[15], ARGV[16]
local producers_max, slots, owner, agents_max = tonumber(ARGV[17]), tonumber(ARGV[18]), ARGV[20], tonumber(ARGV[21])
local PRODUCERS = KEYS[OWN + 3]

local state = load_state(id)
if state and not may_have(id, state, owner) then return { 'not_owner' } end

local session = split_session(redis.call('HGET', SESSIONS, id))
local live = session and session.live
if live and not proved and proof ~= session.hash and silent_fence ~= session.fence then
  return { 'held', session.hub, session.fence }
end
if session and not live and not proved and string.sub(session.hash, 1, 1) == '@' and load_state(id).status ~= 'offline' then
  return { 'held', '', session.fence }
end

local fields = cjson.decode(registration)
local refused = take_name(id, fields.name, session, holder_guess, agents_max, function(other) return not is_anothers(other, owner) end)
if refused then return refused end

local resumed = state and 1 or 0
if state then
  local before = link(id, redis.call('HGET', AGENTS, id), false, state.door)
  redis.call('HDEL', NAMES, before.name)
  if live then mark_all(id, OWN) end
  if state.door then
    -- From now on it reads the log itself.
    state.door = nil
    mark_door(id, state)
    redis.call('HSET', CURSORS, id, last_number(BROADCASTS))
  end
else
  state = new_state(ARGV[19])
  redis.call('HSET', CURSORS, id, last_number(BROADCASTS))
end
link(id, registration, true)
redis.call('HSET', NAMES, fields.name, id)
redis.call('HSET', AGENTS, id, registration)
redis.call('ZREM', DEADLINES, id)
state.connected, state.hub = true, hub
if owner ~= '' then state.owner = owner end
state.eligible, state.ephemeral = fields.leaderEligible, fields.ephemeral
change(resumed == 1 and 'agent.updated' or 'agent.registered', id, state)
if state.status == 'offline' then
  state.status, state.reason = 'online', nil
  change('agent.status_changed', id, state, 'offline', 'online')
end
local fence = state.revision
redis.call('HSET', SESSIONS, id, fence .. ' ' .. hub .. ' ' .. hash)
elect()

if live then
  redis.call(PUBLISH, CHANNELS .. 'hub:' .. session.hub, 'X\n' .. cjson.encode(id) .. '\n' .. session.fence)
end

local base = ''
if producer ~= '' then
  local known = {}
  for name in string.gmatch(redis.call('HGET', PRODUCERS, 'list') or '', '%S+') do
    if name ~= producer then known[#known + 1] = name end
  end
  known[#known + 1] = producer
  if #known > producers_max then
    local gone = { known[1] .. '#last', known[1] .. '#base' }
    for slot = 0, slots - 1 do gone[#gone + 1] = known[1] .. '#' .. slot end
    redis.call('HDEL', PRODUCERS, unpack(gone))
    table.remove(known, 1)
  end
  redis.call('HSET', PRODUCERS, 'list', table.concat(known, ' '))
  redis.call('HSETNX', PRODUCERS, producer .. '#base', fence)
  base = redis.call('HGET', PRODUCERS, producer .. '#base')
end

tell()
return {
  'registered', fence, resumed, live and session.hub or '', live and session.fence or '', base,
  redis.call('XLEN', KEYS[OWN]) + redis.call('XLEN', KEYS[OWN + 1]), redis.call('ZLEXCOUNT', HELD, range(place(id))),
  redis.call('HGET', MARKS, id) or ';;', unpack(emitted),
}
