-- Somebody works on entries of a lane: the sender of each that has a receipt is told, once.
-- KEYS[1] sessions (hash) 2 receipts (hash); then the lanes of senders
-- ARGV[1..2] as in _base.lua  [3] agent id  [4] 'i' or 'r'; numbers …; then senders as in _receipts.lua
-- Returns 0
local receipts, agent, letter = KEYS[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', receipts) == 0 then return 0 end

for i = 5, LAST_ARG do
  local told, _, sender = receipt_of(receipts, letter .. ARGV[i])
  if told == '-' then needs(sender) end
end
if missing then return missing end

for i = 5, LAST_ARG do
  local told, id, sender = receipt_of(receipts, letter .. ARGV[i])
  if told == '-' then
    redis.call('HSET', receipts, letter .. ARGV[i], 'p' .. id .. ' ' .. sender)
    deliver(sender, id, agent, 'in_progress')
  end
end
tell_entries()
return 0
