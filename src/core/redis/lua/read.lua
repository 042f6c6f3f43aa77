-- Reads a lane.
-- KEYS[1] lane (stream) KEYS[2] rejections (hash)
-- ARGV[1] number after which to read  ARGV[2] limit  ARGV[3] 'i' or 'r'
-- Returns {last number given, number, text, expiresAt or '', rejections and due time or '', …}
local lane, rejections, after, limit, letter = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', lane) == 0 then return { 0 } end
local reply = { 0 }
local info = redis.call('XINFO', 'STREAM', lane)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then reply[1] = tonumber(string.sub(info[i + 1], 3)) end
end
local rejected = redis.call('EXISTS', rejections) == 1
for _, entry in ipairs(redis.call('XRANGE', lane, '(0-' .. after, '+', 'COUNT', limit)) do
  local number = string.sub(entry[1], 3)
  reply[#reply + 1] = number
  reply[#reply + 1] = entry[2][2]
  reply[#reply + 1] = entry[2][4] or ''
  reply[#reply + 1] = rejected and redis.call('HGET', rejections, letter .. number) or ''
end
return reply
