-- Deletes processed messages of work queues.
-- KEYS[1..10] as in _tasks.lua; then the lanes of senders
-- ARGV[1..7] as in _tasks.lua; for each message: agent id, message id, claim; then senders as in _receipts.lua
-- Returns 0
local found, order = {}, {}
for i = 8, LAST_ARG, 3 do
  local agent, id, claim = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local task = load_task(id)
  if task and task.holder == agent and task.claims == claim and not found[id] then
    found[id], order[#order + 1] = task, id
    if not task.quiet then needs(task.from) end
  end
end
if missing then return missing end

for _, id in ipairs(order) do
  local task = found[id]
  local holder = task.holder
  forget(id, task)
  if task.from and not task.quiet then deliver(task.from, id, holder, 'acked') end
end
tell()
return 0
