-- Prelude of the scripts that add messages to work queues. `first` is the place in KEYS of
-- tasks (hash), states (hash), waiting (zset, by lex), sizes (hash), agenda (zset), orphaned (hash), in this order.

-- How many entries a queue has.
local function queue_size(first, capability) return tonumber(redis.call('HGET', KEYS[first + 3], capability) or 0) end

-- How many registered agents have a capability.
local function capable_agents(members, capability)
  local prefix = 'c' .. #capability .. ':' .. capability .. ':'
  return redis.call('ZLEXCOUNT', members, '[' .. prefix, '[' .. prefix .. '\255')
end

-- A message at the end of its queue. `expires`: ms as text, or ''; `from`: who is told what becomes of it, or nil; `retention`: ms (0: for ever).
local function enqueue(first, meta, id, text, capability, expires, from, capable, at, retention)
  local tasks, states, waiting, sizes, agenda, orphaned = unpack(KEYS, first, first + 5)
  -- An id stands for one message: it is stored already.
  if redis.call('HSETNX', tasks, id, text) == 0 then return end
  local order = redis.call('HINCRBY', meta, 'order', 1)
  redis.call('HSET', states, id, cjson.encode({
    capability = capability, order = order, at = at, expires = tonumber(expires), from = from, failures = 0, claims = 0, pushes = 0,
  }))
  redis.call('ZADD', waiting, 0, 'w' .. #capability .. ':' .. capability .. ':0::' .. string.format('%016.0f', order) .. ':' .. id)
  redis.call('HINCRBY', sizes, capability, 1)
  if expires ~= '' then redis.call('ZADD', agenda, expires, 'w' .. id) end
  if not capable then
    redis.call('HSETNX', orphaned, capability, string.format('%.0f', at))
    if retention > 0 then redis.call('ZADD', agenda, 'LT', string.format('%.0f', at + retention), 'o' .. capability) end
  end
end
