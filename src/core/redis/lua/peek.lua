-- What waits for an agent that lives by heartbeats.
-- KEYS[1] sessions (hash) 2 inbox 3 replies (streams)
-- ARGV[1] agent id  [2] door  [3] entries the inbox holds (0: no limit)  [4] bytes of texts, about
-- ARGV[5] who has to own the agent, or '': not looked at
-- Returns texts, or 'not_owner'
local session = redis.call('HGET', KEYS[1], ARGV[1])
if not session or not string.find(session, ' - @' .. ARGV[2] .. ':', 1, true) then return {} end
if ARGV[5] ~= '' and string.match(session, '^%d+ %- @%w+:%d+:(%S+)$') ~= ARGV[5] then return 'not_owner' end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local max, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local texts = {}
for _, lane in ipairs({ KEYS[2], KEYS[3] }) do
  -- What is over the bound is about to go.
  local skip = lane == KEYS[2] and max > 0 and redis.call('XLEN', lane) - max or 0
  local from = '-'
  while from do
    local entries = redis.call('XRANGE', lane, from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      local text, expires = entry[2][2], tonumber(entry[2][4])
      if skip > 0 then
        skip = skip - 1
      elseif not expires or expires > now then
        room = room - #text
        if room < 0 and #texts > 0 then return texts end
        texts[#texts + 1] = text
      end
    end
    from = #entries == 100 and '(' .. entries[100][1]
  end
end
return texts
