-- Prelude of the scripts that change what an agent has settled of the broadcast log.
-- Raises the cursor to at least `cursor`, then past all that is settled right behind it, and drops what it covers.
local function advance(cursors, settled, agent, cursor)
  local stored = tonumber(redis.call('HGET', cursors, agent))
  if cursor < stored then cursor = stored end
  while redis.call('SISMEMBER', settled, string.format('%.0f', cursor + 1)) == 1 do cursor = cursor + 1 end
  if cursor > stored then
    redis.call('HSET', cursors, agent, string.format('%.0f', cursor))
    for _, number in ipairs(redis.call('SMEMBERS', settled)) do
      if tonumber(number) <= cursor then redis.call('SREM', settled, number) end
    end
  end
  return cursor
end
