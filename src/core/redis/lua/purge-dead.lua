-- Deletes dead letters.
-- KEYS[1] dead (stream) 2 meta (hash)
-- ARGV places in the list …
-- Returns how many there were
local removed = 0
-- Lua unpacks some thousands at most.
for from = 1, #ARGV, 1000 do removed = removed + redis.call('XDEL', KEYS[1], unpack(ARGV, from, math.min(from + 999, #ARGV))) end
if removed > 0 then redis.call('HINCRBY', KEYS[2], 'deadRemoved', removed) end
return removed
