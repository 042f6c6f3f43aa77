-- What an agent holds of work queues, in the order in which it was sent; at the start of a session each is pushed once more.
-- KEYS[1..10] as in _tasks.lua
-- ARGV[1..7] as in _tasks.lua  [8] agent id  [9] fence of the session that resumes them, or '' to look only; then senders: none
-- Returns {how many, then for each: capability, id, text, attempt, claim}
local agent, fence = ARGV[8], ARGV[9]
if fence ~= '' then
  local session = redis.call('HGET', SESSIONS, agent)
  if not session or not hub_of(session) or fence_of(session) ~= fence then return { 0 } end
end

local found = {}
for _, id in ipairs(held_by(agent)) do found[#found + 1] = { id = id, task = load_task(id) } end
table.sort(found, function(a, b) return a.task.order < b.task.order end)
local reply = { #found }
for _, entry in ipairs(found) do
  local id, task = entry.id, entry.task
  if fence ~= '' then
    -- Counted once a session, however often it asks.
    if task.resumed ~= fence then
      task.pushes, task.resumed = task.pushes + 1, fence
      save_task(id, task)
    end
    set_deadline(id)
  end
  for _, value in ipairs({ task.capability, id, redis.call('HGET', TASKS, id), task.pushes, task.claims }) do reply[#reply + 1] = value end
end
return reply
