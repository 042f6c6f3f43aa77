-- Prelude of the scripts that change work queues, after _receipts.lua and _dead.lua. KEYS[1..10] are the same in all of them:
-- 1 sessions (hash) 2 members (zset, by lex) 3 dead (stream) 4 held (zset, by lex) 5 tasks (hash) 6 states (hash)
-- 7 waiting (zset, by lex) 8 sizes (hash) 9 agenda (zset) 10 orphaned (hash).
-- ARGV[1..4] as in _dead.lua, ARGV[5] maxAttempts (0: no limit), ARGV[6] ackTimeoutMs (0: none), ARGV[7] retentionMs (0: for ever)
-- Whatever a script loses or gives up it asks `doom` about and `needs` for before its first write, and `tell` stands at its end.
local MEMBERS, DEAD, HELD, TASKS, STATES, WAITING, SIZES, AGENDA, ORPHANED = unpack(KEYS, 2, 10)
local MAX_ATTEMPTS, ACK_TIMEOUT, RETENTION = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local begun, begun_list = {}, {}

-- Length first, so that no value is another one's prefix.
local function place(value) return #value .. ':' .. value .. ':' end

-- All members of a zset by lex that start with `prefix`.
local function range(prefix) return '[' .. prefix, '[' .. prefix .. '\255' end

local function load_task(id)
  local text = redis.call('HGET', STATES, id)
  return text and cjson.decode(text)
end

local function save_task(id, task) redis.call('HSET', STATES, id, cjson.encode(task)) end

local function has_expired(task) return task.expires and task.expires <= now end

-- Where it stands while nobody holds it.
local function waiting_member(id, task)
  local line = task.due and 'd' .. place(task.capability) or 'w' .. place(task.capability) .. place(task.lost_by or '')
  return line .. string.format('%016.0f', task.order) .. ':' .. id
end

-- Something waits in a queue that did not before.
local function note_begun(capability)
  if begun[capability] then return end
  begun[capability] = true
  begun_list[#begun_list + 1] = capability
end

-- It has no holder: it waits, or will when `due` (nil: now). Stores its state.
local function park(id, task, due)
  task.due = due
  redis.call('ZADD', WAITING, 0, waiting_member(id, task))
  if task.expires then redis.call('ZADD', AGENDA, int(task.expires), 'w' .. id) end
  if due then
    redis.call('ZADD', AGENDA, int(due), 'd' .. id)
  else
    note_begun(task.capability)
  end
  local since = RETENTION > 0 and redis.call('HGET', ORPHANED, task.capability)
  if since then
    redis.call('ZADD', AGENDA, 'LT', int(math.max(tonumber(since), task.at) + RETENTION), 'o' .. task.capability)
  end
  save_task(id, task)
end

-- Takes it from where it waits.
local function unpark(id, task)
  redis.call('ZREM', WAITING, waiting_member(id, task))
  if task.expires then redis.call('ZREM', AGENDA, 'w' .. id) end
  if task.due then redis.call('ZREM', AGENDA, 'd' .. id) end
end

-- Takes it from its holder.
local function unhold(id, task)
  redis.call('ZREM', HELD, place(task.holder) .. id)
  redis.call('ZREM', AGENDA, 'c' .. id)
  task.holder, task.resumed = nil, nil
end

-- The holder's time for a sign of life begins anew.
local function set_deadline(id)
  if ACK_TIMEOUT > 0 then redis.call('ZADD', AGENDA, int(now + ACK_TIMEOUT), 'c' .. id) end
end

-- Deletes it.
local function forget(id, task)
  if task.holder then unhold(id, task) else unpark(id, task) end
  redis.call('HDEL', TASKS, id)
  redis.call('HDEL', STATES, id)
  if redis.call('HINCRBY', SIZES, task.capability, -1) > 0 then return end
  redis.call('HDEL', SIZES, task.capability)
  if redis.call('HDEL', ORPHANED, task.capability) == 1 then redis.call('ZREM', AGENDA, 'o' .. task.capability) end
end

-- `agent`: who had it last, or nil.
local function give_up(id, task, agent, reason, expired)
  local text = redis.call('HGET', TASKS, id)
  forget(id, task)
  bury(DEAD, text, agent, reason, task.failures, task.capability)
  if not task.from then return end
  if expired then reason = nil end
  deliver(task.from, id, agent, expired and 'expired' or 'dead_lettered', reason, text)
end

-- Why it is given up if its holder loses it: a reason, and whether its time to live is over; nil: it waits again.
local function doom(task, counted, cause)
  if has_expired(task) then return 'expired', true end
  if counted and MAX_ATTEMPTS > 0 and task.failures + 1 >= MAX_ATTEMPTS then return cause, false end
end

-- Takes it from its holder, who counts as the one that lost it: it is given up for `reason`, or waits, from `due` on (nil: from now on).
local function lose(id, task, counted, reason, expired, due)
  local holder = task.holder
  if counted then task.failures = task.failures + 1 end
  if reason then return give_up(id, task, holder, reason, expired) end
  unhold(id, task)
  task.lost_by = holder
  park(id, task, due)
end

-- The lines of a queue, each in order: what nobody lost, and for each agent what that one lost last.
local function lines_of(capability)
  local start = 2 + #place(capability)
  local from, to = range('w' .. place(capability))
  local lines = {}
  while true do
    local member = redis.call('ZRANGEBYLEX', WAITING, from, to, 'LIMIT', 0, 1)[1]
    if not member then return lines end
    local length, after = string.match(member, '^(%d+):()', start)
    local last = after + tonumber(length)
    local prefix = string.sub(member, 1, last)
    lines[#lines + 1] = { lost_by = string.sub(member, after, last - 1), prefix = prefix }
    from = '(' .. prefix .. '\255'
  end
end

-- The id of a member of a line, behind its order.
local function id_in(prefix, member) return string.sub(member, #prefix + 18) end

local function held_by(agent)
  local prefix, ids = place(agent), {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', HELD, range(prefix))) do ids[#ids + 1] = string.sub(member, #prefix + 1) end
  return ids
end

local function fence_of(session) return string.match(session, '^%d+') end
local function hub_of(session)
  local hub = string.match(session, '^%d+ (%S+)')
  return hub ~= '-' and hub or nil
end

-- The last step of every script.
local function tell()
  announce()
  if #begun_list > 0 then
    redis.call(PUBLISH, CHANNELS .. 'feed', 'J\n' .. cjson.encode({ kind = 'queued', capabilities = begun_list }))
  end
  tell_entries()
end
