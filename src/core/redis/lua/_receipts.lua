-- Prelude of the scripts that may end a message with a receipt, after _base.lua. KEYS[1] is sessions (hash) in all of them.
-- The sender is told in its `replies` lane, which has to be declared: the last of ARGV is how many senders are, before it stand their
-- ids, and the last of KEYS are their lanes (streams) in the same order. What else a script is given ends at LAST_ARG and LAST_KEY.
local SESSIONS, SENDERS = KEYS[1], tonumber(ARGV[#ARGV])
local LAST_ARG, LAST_KEY = #ARGV - 1 - SENDERS, #KEYS - SENDERS
local sender_lanes, entries = {}, {}
-- What the script returns, having changed nothing, where a sender is not declared: {'senders', id, …}.
local missing
for i = 1, SENDERS do sender_lanes[ARGV[LAST_ARG + i]] = KEYS[LAST_KEY + i] end

-- Said of each sender before the first write. Nil is nobody.
local function needs(sender)
  if sender and sender_lanes[sender] == nil then
    sender_lanes[sender] = false
    missing = missing or { 'senders' }
    missing[#missing + 1] = sender
  end
end

local ESCAPES = { ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t' }

-- A string, or nil, as JSON.stringify writes it; cjson escapes more.
local function quote(text)
  if not text then return 'null' end
  local escaped = string.gsub(text, '[%z\1-\31"\\]', function(character)
    return ESCAPES[character] or string.format('\\u%04x', string.byte(character))
  end)
  return '"' .. escaped .. '"'
end

-- As Date.toISOString writes it. The calendar begins in March of the year 0, so that the leap day is a year's last.
local function iso(ms)
  local floor = math.floor
  local date = floor(ms / 86400000)
  local rest = ms - date * 86400000
  local era = floor((date + 719468) / 146097)
  local day = date + 719468 - era * 146097
  local year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365)
  day = day - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * day + 2) / 153)
  day = day - floor((153 * month + 2) / 5) + 1
  if month < 10 then month = month + 3 else month, year = month - 9, year + 1 end
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year + era * 400, month, day,
    floor(rest / 3600000), floor(rest / 60000) % 60, floor(rest / 1000) % 60, rest % 1000)
end

-- Notes what the hub of a connected agent is to be told of an entry; `place` is 'i' or 'r' and its number.
local function note_entry(session, agent, place, text, expires)
  local hub = string.match(session, '^%d+ (%S+)')
  if hub == '-' then return end
  local lines = entries[hub] or {}
  entries[hub] = lines
  lines[#lines + 1] = place .. ' ' .. expires
  lines[#lines + 1] = cjson.encode(agent)
  lines[#lines + 1] = text
end

local function tell_entries()
  for hub, lines in pairs(entries) do redis.call(PUBLISH, CHANNELS .. 'hub:' .. hub, 'E' .. EPOCH .. '\n' .. table.concat(lines, '\n')) end
end

-- The correlation id of a stored message as JSON, as a member behind others; '' where it has none. What the message has behind its payload ends
-- before its time, and no string can hold an unescaped quote.
local function correlation(text)
  local head = string.match(text, '^(.*),"createdAt":"')
  local id = head and string.match(head, '^.*,"correlationId":(".*")$')
  return id and ',"correlationId":' .. id or ''
end

-- The text is that of receiptText in core/receipts.ts. `text`: of a message that was given up. Who is not registered any more is told nothing.
local function deliver(sender, id, agent, status, reason, text)
  local session = redis.call('HGET', SESSIONS, sender)
  if not session then return end
  local receipt = '{"type":"receipt","receiptId":' .. quote(id .. (status == 'in_progress' and '.p' or '.f')) .. ',"id":' .. quote(id)
    .. ',"agentId":' .. quote(agent) .. ',"status":"' .. status .. '","reason":' .. quote(reason) .. (text and correlation(text) or '') .. ',"at":"' .. iso(now_ms()) .. '"}'
  local number = string.sub(redis.call('XADD', sender_lanes[sender], '0-*', 't', receipt), 3)
  note_entry(session, sender, 'r' .. number, receipt, '')
end

-- Whether a text in a lane is a receipt itself: that one is nobody's loss.
local function is_receipt(text) return string.sub(text, 1, 17) == '{"type":"receipt"' end

-- Entries of lanes: an agent's receipts (hash) holds '<i|r><number>' → '<-, p: told in_progress, f: failures only><message id> <sender>'.
local function receipt_of(receipts, place)
  local text = redis.call('HGET', receipts, place)
  if text then return string.match(text, '^(.)(%S+) (.*)$') end
end

-- `acked`: it ends well, of which who is told of failures only hears nothing.
local function needs_receipt(receipts, place, acked)
  local told, _, sender = receipt_of(receipts, place)
  if not (acked and told == 'f') then needs(sender) end
end

local function end_receipt(receipts, place, agent, status, reason, text)
  local told, id, sender = receipt_of(receipts, place)
  if not id then return end
  if not (status == 'acked' and told == 'f') then deliver(sender, id, agent, status, reason, text) end
  redis.call('HDEL', receipts, place)
end
