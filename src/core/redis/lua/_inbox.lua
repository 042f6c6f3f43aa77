-- Prelude of the scripts that change inboxes, after _epoch.lua. `inboxBytes` of meta is how many bytes of text the namespace's inboxes hold, of what
-- was added under a limit: such an entry has its text in a field `b`, every other (and every reply) in a field `t`. So the sum stays right where
-- the limit is set or lifted while messages wait, and costs nothing where there is none.
local inbox_held = tonumber(inbox_bytes or 0)
local inbox_before = inbox_held

-- The name of the field for a text that is added to a lane. `max`: bytes (0: no limit).
local function count_in(max, letter, text)
  if max == 0 or letter ~= 'i' then return 't' end
  inbox_held = inbox_held + #text
  return 'b'
end

-- An entry that is deleted, as XRANGE gives it.
local function count_out(entry)
  if entry[2][1] == 'b' then inbox_held = inbox_held - #entry[2][2] end
end

local function keep_count()
  if inbox_held ~= inbox_before then redis.call('HSET', HOME, 'inboxBytes', string.format('%.0f', inbox_held)) end
  inbox_before = inbox_held
end
