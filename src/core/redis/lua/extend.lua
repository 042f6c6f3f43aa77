-- Somebody works on messages of work queues: their deadlines are put off, and senders with a receipt told, once.
-- KEYS[1..10] as in _tasks.lua; then the lanes of senders
-- ARGV[1..7] as in _tasks.lua; for each message: agent id, message id, claim; then senders as in _receipts.lua
-- Returns 0
local kept = {}
for i = 8, LAST_ARG, 3 do
  local agent, id, claim = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local task = load_task(id)
  if task and task.holder == agent and task.claims == claim and not kept[id] then
    kept[id] = task
    if not (task.told or task.quiet) then needs(task.from) end
  end
end
if missing then return missing end

for id, task in pairs(kept) do
  set_deadline(id)
  if task.from and not (task.told or task.quiet) then
    task.told = true
    save_task(id, task)
    deliver(task.from, id, task.holder, 'in_progress')
  end
end
tell()
return 0
