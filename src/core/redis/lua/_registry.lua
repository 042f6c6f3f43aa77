-- Prelude of the scripts that change a registry, after _tasks.lua. KEYS[1..21] are the same in all of them: 1..10 as in _tasks.lua,
-- 11 meta (hash) 12 agents (hash) 13 state (hash) 14 names (hash) 15 electable (zset) 16 deadlines (zset) 17 events (stream)
-- 18 expiries (zset) 19 broadcasts (stream) 20 cursors (hash) 21 marks (hash). From OWN on follow an agent's own keys:
-- inbox, replies (streams), settled (set), producers, rejections, receipts (hashes); from OTHER on those of another agent.
local META, AGENTS, STATE, NAMES, ELECTABLE, DEADLINES, EVENTS, EXPIRIES, BROADCASTS, CURSORS, MARKS = unpack(KEYS, 11, 21)
local OWN, OTHER = 22, 28
local emitted = {}

local function load_state(id)
  local text = redis.call('HGET', STATE, id)
  return text and cjson.decode(text)
end

local function next_revision()
  local revision = tonumber(redis.call('HGET', META, 'revision') or now * 1000 - 1) + 1
  redis.call('HSET', META, 'revision', int(revision))
  return int(revision)
end

-- One line a field, so that JSON made by hubs passes as it is. The hub's parser is in event-text.ts.
local function emit(event, revision, id, state, old, new)
  local leader = redis.call('HMGET', META, 'leader', 'term')
  local text = table.concat({
    revision, event, int(now), id and cjson.encode(id) or '', id and state and redis.call('HGET', AGENTS, id) or '',
    state and cjson.encode(state) or '', old and cjson.encode(old) or '', new or '',
    leader[1] and leader[1] ~= '' and cjson.encode(leader[1]) or '', leader[2] or '0',
  }, '\n')
  if EVENTS_MAX > 0 then
    redis.call('XADD', EVENTS, 'MAXLEN', EVENTS_MAX, revision .. '-0', 'v', text)
  else
    redis.call('XADD', EVENTS, revision .. '-0', 'v', text)
  end
  redis.call(PUBLISH, CHANNELS .. 'feed', 'V\n' .. text)
  emitted[#emitted + 1] = text
end

-- Length first, so that no value is another one's prefix.
local function member(kind, value, id) return kind .. #value .. ':' .. value .. ':' .. id end

-- An agent that lives by heartbeats gets copies of broadcasts while it is not offline: `b…+` are those that do, `b…-` the others.
local function mark_door(id, state)
  local sign = state.status == 'offline' and '-' or '+'
  redis.call('ZREM', MEMBERS, member('b', '+', id), member('b', '-', id))
  if state.door then redis.call('ZADD', MEMBERS, 0, member('b', sign, id)) end
end

-- The state of a new agent. `registered`: when it was first registered (ms), before the store lost it, or ''. `since` tells who of one
-- millisecond came first (μs).
local function new_state(registered)
  local at = tonumber(registered)
  local since = at and at < now and at * 1000 or now_us()
  return { status = 'online', registeredAt = int(math.floor(since / 1000)), since = int(since) }
end

-- Stores a changed state and tells it.
local function change(event, id, state, old, new)
  if state.door then mark_door(id, state) end
  state.revision = next_revision()
  redis.call('HSET', STATE, id, cjson.encode(state))
  if state.eligible and state.status == 'online' then
    redis.call('ZADD', ELECTABLE, state.since or int(tonumber(state.registeredAt) * 1000), id)
  else
    redis.call('ZREM', ELECTABLE, id)
  end
  emit(event, state.revision, id, state, old, new)
end

-- Keeps the leader while it qualifies; else the eldest that does.
local function elect()
  local leader = redis.call('HGET', META, 'leader')
  if leader == '' then leader = false end
  local state = leader and load_state(leader)
  if state and state.eligible and state.status ~= 'offline' then return end
  if not leader then
    -- The store has lost its leader: those that were there have time to come back.
    local quiet = redis.call('HGET', META, 'quiet')
    if quiet and tonumber(quiet) > now then return end
    if quiet then redis.call('HDEL', META, 'quiet') end
  end
  local first = redis.call('ZRANGE', ELECTABLE, 0, 0)[1]
  if not leader and not first then return end
  local revision = next_revision()
  redis.call('HSET', META, 'leader', first or '')
  if first then redis.call('HSET', META, 'term', revision) end
  emit('leader.changed', revision, first, nil, leader, nil)
end

-- Notes since when a queue that is not empty has no registered agent to take from it.
local function watch_queue(capability)
  if redis.call('HEXISTS', SIZES, capability) == 0 then return end
  if redis.call('ZLEXCOUNT', MEMBERS, range('c' .. place(capability))) > 0 then
    if redis.call('HDEL', ORPHANED, capability) == 1 then redis.call('ZREM', AGENDA, 'o' .. capability) end
  else
    redis.call('HSET', ORPHANED, capability, int(now))
    if RETENTION > 0 then redis.call('ZADD', AGENDA, int(now + RETENTION), 'o' .. capability) end
  end
end

-- `door`: of an agent that lives by heartbeats, which takes no work: its capabilities are `h…`.
local function link(id, registration, add, door)
  local fields = cjson.decode(registration)
  for kind, values in pairs({ [door and 'h' or 'c'] = fields.capabilities, g = fields.groups }) do
    for _, value in ipairs(values) do
      if add then redis.call('ZADD', MEMBERS, 0, member(kind, value, id)) else redis.call('ZREM', MEMBERS, member(kind, value, id)) end
      if kind == 'c' then watch_queue(value) end
    end
  end
  return fields
end

local function split_session(text)
  if not text then return nil end
  local fence, hub, hash = string.match(text, '^(%d+) (%S+) (%S*)$')
  return { fence = fence, hub = hub, hash = hash, live = hub ~= '-' }
end

-- Of an agent that lives by heartbeats: what stands where others have the hash of their session.
local function beat_mark(door, state) return '@' .. door .. ':' .. int(now) .. (state.owner and ':' .. state.owner or '') end

-- Whether an agent is another owner's than who registers: where either is nobody's, ownership is not looked at.
local function is_anothers(state, owner) return owner ~= '' and state.owner and state.owner ~= owner end

-- Whether an id is a principal's own: its subject, or that and `:` in front of anything.
local function is_own(owner, id) return id == owner or string.sub(id, 1, #owner + 1) == owner .. ':' end

-- Whether who registers may have an agent: it is not another's, or its id is its own and not that one's.
local function may_have(id, state, owner)
  return not is_anothers(state, owner) or is_own(owner, id) and not is_own(state.owner, id)
end

-- Whether a session stands for an agent that lives by heartbeats of this door.
local function is_of(door, session) return session and string.sub(session.hash, 1, #door + 2) == '@' .. door .. ':' end

-- All that lies in an agent's lanes and in the log counts as pushed once more: how far its session came is not known.
local function mark_all(id, first_key)
  local inbox, replies, broadcasts = string.match(redis.call('HGET', MARKS, id) or ';;', '^(.-);(.-);(.-)$')
  local function add(marks, key)
    local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
    if not last then return marks end
    -- Taken over again and again without ever leaving: counted at the last number together, too high rather than too low.
    if #marks > 1000 then
      local sessions = 0
      for count in string.gmatch(marks, ':(%d+)') do sessions = sessions + tonumber(count) end
      marks = string.sub(last[1], 3) .. ':' .. sessions
    end
    return marks .. (marks == '' and '' or ',') .. string.sub(last[1], 3) .. ':1'
  end
  redis.call('HSET', MARKS, id, add(inbox, KEYS[first_key]) .. ';' .. add(replies, KEYS[first_key + 1]) .. ';' .. add(broadcasts, BROADCASTS))
end

-- One record from the first to the last broadcast that the agent was still owed; what was cut off counts, since nobody knows.
local function give_up_owed(id, settled, reason)
  local next = tonumber(redis.call('HGET', CURSORS, id) or 0) + 1
  local first = redis.call('XRANGE', BROADCASTS, '-', '+', 'COUNT', 1)[1]
  local cut = first and tonumber(string.sub(first[1], 3)) - 1 or last_number(BROADCASTS)
  local from, to
  if next <= cut then from, to = next, cut end
  local quoted = cjson.encode(id)
  while true do
    local entries = redis.call('XRANGE', BROADCASTS, '0-' .. int(next), '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      local number, sender, echo, recipients = string.sub(entry[1], 3), entry[2][4], entry[2][6], entry[2][8]
      local owed
      if recipients == '' then owed = echo == '1' or sender ~= id else owed = string.find(recipients, quoted, 1, true) end
      if owed and redis.call('SISMEMBER', settled, number) == 0 then
        from, to = from or tonumber(number), tonumber(number)
      end
      next = tonumber(number) + 1
    end
    if #entries < 500 then break end
  end
  if from then bury(DEAD, '{"from":' .. int(from) .. ',"to":' .. int(to) .. '}', id, reason, 0) end
end

-- To be called before the first write of a script that will hand on what an agent holds. `counted`: as failed attempts.
local function needs_holds(id, counted)
  for _, held in ipairs(held_by(id)) do
    local task = load_task(held)
    if doom(task, counted, 'holder_lost') then needs(task.from) end
  end
end

-- Lets others have what an agent holds of work queues.
local function hand_on(id, counted)
  for _, held in ipairs(held_by(id)) do
    local task = load_task(held)
    lose(held, task, counted, doom(task, counted, 'holder_lost'))
  end
end

-- To be called before the first write of a script that will remove an agent.
local function needs_removal(id, first_key, counted)
  needs_holds(id, counted)
  for _, text in ipairs(redis.call('HVALS', KEYS[first_key + 5])) do needs(string.match(text, ' (.*)$')) end
end

-- Unregisters; what is left in its lanes goes to the dead letters, and one record for what is left in the log. `counted`: as in hand_on.
local function remove(id, first_key, reason, counted)
  local state = load_state(id)
  hand_on(id, counted)
  -- From here on it is told nothing, not even of what it sent to itself.
  redis.call('HDEL', SESSIONS, id)
  local receipts = KEYS[first_key + 5]
  local receipted = redis.call('EXISTS', receipts) == 1
  for lane_place, lane in ipairs({ 'i', 'r' }) do
    for _, entry in ipairs(redis.call('XRANGE', KEYS[first_key + lane_place - 1], '-', '+')) do
      local number, text = string.sub(entry[1], 3), entry[2][2]
      count_out(entry)
      local rejected = redis.call('HGET', KEYS[first_key + 4], lane .. number)
      if not is_receipt(text) then bury(DEAD, text, id, reason, rejected and string.match(rejected, '^%d+') or 0) end
      if receipted then end_receipt(receipts, lane .. number, id, 'dead_lettered', reason, text) end
      if entry[2][3] then redis.call('ZREM', EXPIRIES, lane .. number .. ':' .. id) end
    end
  end
  keep_count()
  -- Who lives by heartbeats had copies of the log's entries.
  if not state.door then give_up_owed(id, KEYS[first_key + 2], reason) end
  local fields = link(id, redis.call('HGET', AGENTS, id), false, state.door)
  if state.door then mark_door(id, {}) end
  state.connected, state.revision = false, next_revision()
  emit('agent.unregistered', state.revision, id, state)
  for i = 0, 5 do redis.call('DEL', KEYS[first_key + i]) end
  for _, key in ipairs({ AGENTS, STATE, CURSORS, MARKS }) do redis.call('HDEL', key, id) end
  redis.call('HDEL', NAMES, fields.name)
  redis.call('ZREM', ELECTABLE, id)
  redis.call('ZREM', DEADLINES, id)
end

-- Makes an agent's name its own: an offline holder of it for whom `makes_way` holds is unregistered. To be called before the first write.
-- Returns what the script has to answer instead of going on, or nil.
local function take_name(id, name, session, holder_guess, agents_max, makes_way)
  local holder = redis.call('HGET', NAMES, name)
  local replaced = holder and holder ~= id
  if replaced then
    local state = load_state(holder)
    if state.status ~= 'offline' or not makes_way(state) then return { 'name_taken', holder } end
  end
  if not session and agents_max > 0 and redis.call('HLEN', SESSIONS) - (replaced and 1 or 0) >= agents_max then return { 'full' } end
  if not replaced then return nil end
  if holder ~= holder_guess then return { 'holder', holder } end
  needs_removal(holder, OTHER, true)
  if missing then return missing end
  remove(holder, OTHER, 'unregistered', true)
end
