-- How many dead letters there are, and how many went because there were too many.
-- KEYS[1] dead (stream) 2 meta (hash)
-- Returns {kept, dropped}
if redis.call('EXISTS', KEYS[1]) == 0 then return { 0, 0 } end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local kept, added = 0, 0
for i = 1, #info, 2 do
  if info[i] == 'length' then kept = info[i + 1] elseif info[i] == 'entries-added' then added = info[i + 1] end
end
return { kept, added - kept - tonumber(redis.call('HGET', KEYS[2], 'deadRemoved') or 0) }
