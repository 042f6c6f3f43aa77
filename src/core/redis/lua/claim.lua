-- Gives waiting messages of a work queue to agents with room.
-- KEYS[1..10] as in _tasks.lua; then the lanes of senders
-- ARGV[1..7] as in _tasks.lua  [8] capability; for each claimant: agent id, fence, room, concurrency; then senders as in _receipts.lua
-- Returns {how many still wait, 1 where expired ones took all the time: call again, then for each message: which claimant (from 0), id,
--   text, attempt, claim}
local capability = ARGV[8]
-- Expired messages that one call gives up: each costs about as much as a claim.
local EXPIRED_MAX = 1000

local open, wanted, held = {}, 0, {}
for i = 9, LAST_ARG, 4 do
  local id, session = ARGV[i], redis.call('HGET', SESSIONS, ARGV[i])
  if session and hub_of(session) and fence_of(session) == ARGV[i + 1] then
    held[id] = held[id] or redis.call('ZLEXCOUNT', HELD, range(place(id)))
    local concurrency = tonumber(ARGV[i + 3])
    local room = math.min(tonumber(ARGV[i + 2]), concurrency - held[id])
    if room > 0 then
      open[#open + 1] = { id = id, place = (i - 9) / 4, room = room, concurrency = concurrency }
      wanted = wanted + room
    end
  end
end

-- Two connected agents that have the capability, if there are: one of them is another than whoever asks.
local connected
local function has_other(agent)
  if not connected then
    connected = {}
    local prefix = 'c' .. place(capability)
    local from, to = range(prefix)
    while #connected < 2 do
      local members = redis.call('ZRANGEBYLEX', MEMBERS, from, to, 'LIMIT', 0, 100)
      if #members == 0 then break end
      for _, member in ipairs(members) do
        local id = string.sub(member, #prefix + 1)
        local session = redis.call('HGET', SESSIONS, id)
        if session and hub_of(session) then connected[#connected + 1] = id end
        if #connected == 2 then break end
      end
      from = '(' .. members[#members]
    end
  end
  return connected[1] and connected[1] ~= agent or connected[2] ~= nil
end

local lines, expired = wanted > 0 and lines_of(capability) or {}, {}
for _, line in ipairs(lines) do
  line.next = 1
  line.from, line.to = range(line.prefix)
end

-- The first message of a line, or nil; reads on where what was read is taken.
local function front(line)
  while not line[line.next] and line.from and #expired < EXPIRED_MAX do
    local members = redis.call('ZRANGEBYLEX', WAITING, line.from, line.to, 'LIMIT', 0, math.min(wanted, 100))
    local ids = {}
    for i, member in ipairs(members) do ids[i] = id_in(line.prefix, member) end
    local states = #ids > 0 and redis.call('HMGET', STATES, unpack(ids)) or {}
    for i, id in ipairs(ids) do
      local task = cjson.decode(states[i])
      local entry = { id = id, task = task }
      if has_expired(task) then
        expired[#expired + 1] = entry
        needs(task.from)
      else
        line[#line + 1] = entry
      end
    end
    line.from = #ids > 0 and '(' .. members[#members] or nil
  end
  return line[line.next]
end

local function first_for(agent)
  local first, found
  for _, line in ipairs(lines) do
    if line.lost_by ~= agent or not has_other(agent) then
      local entry = front(line)
      if entry and (not first or entry.task.order < first.task.order) then first, found = entry, line end
    end
  end
  -- What was not read may come before it.
  if not found or #expired >= EXPIRED_MAX then return nil end
  found.next = found.next + 1
  return first
end

local grants = {}
while #open > 0 and #expired < EXPIRED_MAX do
  local still = {}
  for _, claimant in ipairs(open) do
    local id = claimant.id
    local entry = held[id] < claimant.concurrency and first_for(id)
    if entry then
      grants[#grants + 1], entry.agent, entry.claimant = entry, id, claimant.place
      claimant.room, held[id] = claimant.room - 1, held[id] + 1
      if claimant.room > 0 then still[#still + 1] = claimant end
    end
  end
  open = still
end
if missing then return missing end

for _, entry in ipairs(expired) do give_up(entry.id, entry.task, entry.task.lost_by, 'expired', true) end
local reply = { 0, #expired >= EXPIRED_MAX and 1 or 0 }
for _, entry in ipairs(grants) do
  local id, task = entry.id, entry.task
  unpark(id, task)
  task.holder, task.claims, task.pushes = entry.agent, task.claims + 1, task.pushes + 1
  redis.call('ZADD', HELD, 0, place(entry.agent) .. id)
  set_deadline(id)
  save_task(id, task)
  for _, value in ipairs({ entry.claimant, id, redis.call('HGET', TASKS, id), task.pushes, task.claims }) do reply[#reply + 1] = value end
end
reply[1] = redis.call('ZLEXCOUNT', WAITING, range('w' .. place(capability)))
tell()
return reply
