-- Registers an agent, or moves it to a new session, atomically with names, leader and events.
-- KEYS[1..14]   as in _registry.lua
-- KEYS[15..19]  the agent's own keys; KEYS[20..24] those of the agent that is guessed to hold the name
-- ARGV[1..4]    as in _dead.lua
-- ARGV[5] agent id  ARGV[6] registration (JSON)  ARGV[7] hub  ARGV[8] session hash  ARGV[9] proof hash or ''
-- ARGV[10] '1': proved  ARGV[11] fence of a silent holder or ''  ARGV[12] producer or ''  ARGV[13] guessed name holder or ''
-- ARGV[14] producers remembered  ARGV[15] slots of a producer
-- Returns {'held', hub, fence} | {'name_taken', holder} | {'holder', id}: the guess was wrong |
--         {'registered', fence, resumed 0/1, displaced hub or '', its fence, producer base, pending, marks, event texts …}
local id, registration, hub, hash, proof = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local proved, silent_fence, producer, holder_guess = ARGV[10] == '1', ARGV[11], ARGV[12], ARGV[13]
local producers_max, slots = tonumber(ARGV[14]), tonumber(ARGV[15])
local PRODUCERS = KEYS[18]

local session = split_session(redis.call('HGET', SESSIONS, id))
local live = session and session.live
if live and not proved and proof ~= session.hash and silent_fence ~= session.fence then
  return { 'held', session.hub, session.fence }
end

local fields = cjson.decode(registration)
local holder = redis.call('HGET', NAMES, fields.name)
if holder and holder ~= id then
  if load_state(holder).status ~= 'offline' then return { 'name_taken', holder } end
  if holder ~= holder_guess then return { 'holder', holder } end
  remove(holder, 20, 'unregistered')
end

local state = load_state(id)
local resumed = state and 1 or 0
if state then
  local before = link(id, redis.call('HGET', AGENTS, id), false)
  redis.call('HDEL', NAMES, before.name)
  if live then mark_all(id, 15) end
else
  state = { status = 'online', registeredAt = int(now) }
  redis.call('HSET', CURSORS, id, last_number(BROADCASTS))
end
link(id, registration, true)
redis.call('HSET', NAMES, fields.name, id)
redis.call('HSET', AGENTS, id, registration)
redis.call('ZREM', DEADLINES, id)
state.connected, state.hub = true, hub
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

announce()
return {
  'registered', fence, resumed, live and session.hub or '', live and session.fence or '', base,
  redis.call('XLEN', KEYS[15]) + redis.call('XLEN', KEYS[16]), redis.call('HGET', MARKS, id) or ';;', unpack(emitted),
}
