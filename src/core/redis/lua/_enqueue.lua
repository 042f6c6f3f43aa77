-- Prelude of the scripts that add messages to work queues; one function, since `send` is called most often of all.
-- A message at the end of its queue: how many registered agents have the capability, or nil and the code of a refusal. `first` is the place
-- in KEYS of tasks, states (hashes), waiting (zset, by lex), sizes (hash), agenda (zset), orphaned (hash). `max`: entries of a queue,
-- `retention`: ms (0: no limit); `expires`: ms as text, or ''; `from`: who is told what becomes of it, or nil; `fail`: refused where nobody
-- has the capability; `quiet`: true where only a failure is told, else nil.
local function enqueue(first, meta, members, max, retention, now, text, capability, expires, from, fail, quiet)
  local tasks, states, waiting, sizes, agenda, orphaned = unpack(KEYS, first, first + 5)
  local queue = #capability .. ':' .. capability .. ':'
  local capable = redis.call('ZLEXCOUNT', members, '[c' .. queue, '[c' .. queue .. '\255')
  if capable == 0 and fail then return nil, 'no_capable_agent' end
  if max > 0 and tonumber(redis.call('HGET', sizes, capability) or 0) >= max then return nil, 'inbox_full' end
  local id = string.match(text, '^{"type":"message","id":"([^"]*)"')
  -- An id stands for one message: it is stored already.
  if redis.call('HSETNX', tasks, id, text) == 0 then return capable end
  local order = redis.call('HINCRBY', meta, 'order', 1)
  redis.call('HSET', states, id, cjson.encode({
    capability = capability, order = order, at = now, expires = tonumber(expires), from = from, quiet = quiet, failures = 0, claims = 0, pushes = 0,
  }))
  redis.call('ZADD', waiting, 0, 'w' .. queue .. '0::' .. string.format('%016.0f', order) .. ':' .. id)
  redis.call('HINCRBY', sizes, capability, 1)
  if expires ~= '' then redis.call('ZADD', agenda, expires, 'w' .. id) end
  if capable == 0 then
    redis.call('HSETNX', orphaned, capability, string.format('%.0f', now))
    if retention > 0 then redis.call('ZADD', agenda, 'LT', string.format('%.0f', now + retention), 'o' .. capability) end
  end
  return capable
end
