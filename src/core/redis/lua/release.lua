-- A holder gives a message of a work queue back.
-- KEYS[1..10] as in _tasks.lua; then the lane of its sender
-- ARGV[1..7] as in _tasks.lua  [8] agent id  [9] message id  [10] claim  [11] fence  [12] '1': rejected, '0': it was never pushed
-- ARGV[13] '1': requeue  [14] delay (ms)  [15] reason or ''; then senders as in _receipts.lua
-- Returns 0: it waits, when it will (ms), 'dead' or 'gone'
local agent, id, claim, fence, rejected = ARGV[8], ARGV[9], tonumber(ARGV[10]), ARGV[11], ARGV[12] == '1'
local requeue, delay, reason = ARGV[13] == '1', tonumber(ARGV[14]), ARGV[15]

local session, task = redis.call('HGET', SESSIONS, agent), load_task(id)
if not session or fence_of(session) ~= fence then return 'gone' end
if not task or task.holder ~= agent or task.claims ~= claim then return 'gone' end

local cause = reason ~= '' and reason or 'max_attempts'
local dead, expired = doom(task, rejected, cause)
if not requeue then dead, expired = cause, false end
if dead then
  needs(task.from)
  if missing then return missing end
end

local due = delay > 0 and now + delay or nil
if rejected or dead then
  lose(id, task, rejected, dead, expired, due)
else
  task.pushes = task.pushes - 1
  unhold(id, task)
  park(id, task, due)
end
tell()
return dead and 'dead' or due and int(due) or 0
