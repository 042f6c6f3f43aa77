-- How much the work queues of a namespace hold, and for how long the first one that waits has been there. Changes nothing.
-- KEYS[1..10] as in _tasks.lua
-- ARGV[1..7] as in _tasks.lua  [8] queues that are looked at for the age; then senders: none
-- Returns {queues, messages, age of the oldest in ms, or -1 where none waits}
local left = tonumber(ARGV[8])
local queues, messages, oldest = 0, 0, nil
local sizes = redis.call('HGETALL', SIZES)
for i = 1, #sizes, 2 do
  queues, messages = queues + 1, messages + tonumber(sizes[i + 1])
  if left > 0 then
    left = left - 1
    for _, line in ipairs(lines_of(sizes[i])) do
      local from, to = range(line.prefix)
      local task = load_task(id_in(line.prefix, redis.call('ZRANGEBYLEX', WAITING, from, to, 'LIMIT', 0, 1)[1]))
      if not oldest or task.at < oldest then oldest = task.at end
    end
  end
end
return { queues, messages, oldest and math.max(0, now_ms() - oldest) or -1 }
