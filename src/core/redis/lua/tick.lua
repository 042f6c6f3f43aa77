-- What time does to work queues.
-- KEYS[1..10] as in _tasks.lua; then the lanes of senders
-- ARGV[1..7] as in _tasks.lua  [8] limit; then senders as in _receipts.lua
-- Returns how many messages it dealt with
local limit = tonumber(ARGV[8])
local steps = {}

-- Of a queue that nobody can take from: notes what has waited or been delayed for long enough. Returns when to look again, or nil.
local function abandoned(capability)
  local since = tonumber(redis.call('HGET', ORPHANED, capability))
  if not since then return nil end
  local lines, next = lines_of(capability), nil
  lines[#lines + 1] = { prefix = 'd' .. place(capability) }
  for _, line in ipairs(lines) do
    local from, to = range(line.prefix)
    local reading = true
    while reading do
      local members = redis.call('ZRANGEBYLEX', WAITING, from, to, 'LIMIT', 0, 100)
      reading = #members == 100
      for _, member in ipairs(members) do
        local id = id_in(line.prefix, member)
        local task = load_task(id)
        local due = math.max(since, task.at) + RETENTION
        if due > now or #steps >= limit then
          -- Those behind it came later.
          next, reading = math.min(next or due, due), false
          break
        end
        needs(task.from)
        steps[#steps + 1] = { id = id, task = task, reason = 'retention' }
      end
      from = '(' .. (members[#members] or '')
    end
  end
  return next
end

local looks = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', AGENDA, '-inf', int(now), 'LIMIT', 0, limit)) do
  if #steps >= limit then break end
  local kind, id = string.sub(member, 1, 1), string.sub(member, 2)
  if kind == 'o' then
    looks[#looks + 1] = { member = member, next = abandoned(id) }
  else
    local task = load_task(id)
    local step = { id = id, task = task, kind = kind }
    if kind == 'c' then step.reason, step.expired = doom(task, true, 'ack_timeout') end
    if kind ~= 'c' and has_expired(task) then step.reason, step.expired = 'expired', true end
    if step.reason then needs(task.from) end
    steps[#steps + 1] = step
  end
end
if missing then return missing end

-- Before the steps, which may end a queue, or put something into it that is due earlier.
for _, look in ipairs(looks) do
  if look.next then redis.call('ZADD', AGENDA, int(look.next), look.member) else redis.call('ZREM', AGENDA, look.member) end
end
local dealt, done = 0, {}
for _, step in ipairs(steps) do
  local id, task, kind = step.id, step.task, step.kind
  -- A message may be there for two reasons; the first one ended it or let it wait.
  if not done[id] then
    done[id], dealt = true, dealt + 1
    if kind == 'c' then
      local agent, claim = task.holder, task.claims
      local session = redis.call('HGET', SESSIONS, agent)
      lose(id, task, true, step.reason, step.expired)
      local hub = session and hub_of(session)
      if hub then
        redis.call(PUBLISH, CHANNELS .. 'hub:' .. hub, 'J\n' .. cjson.encode({
          kind = 'revoked', agentId = agent, id = id, claim = claim, reason = 'ack_timeout',
        }))
      end
    elseif step.reason then
      give_up(id, task, task.lost_by, step.reason, step.expired)
    else
      unpark(id, task)
      park(id, task)
    end
  end
end
tell()
return dealt
