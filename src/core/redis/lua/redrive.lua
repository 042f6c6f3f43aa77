-- Stores dead letters once more: work in its queue, others in the lane of their agent.
-- KEYS[1..10] as in _tasks.lua  11 meta (hash) 12 expiries (zset); then lanes (streams)
-- ARGV[1..7] as in _tasks.lua  [8] inboxMax  [9] queueMax  [10] bytes of text a signal carries
-- ARGV[11] bytes in the namespace's inboxes (0: no limit); for each dead letter: its place in the list, text, expiresAt or '', place of its lane (0: of work), 'i' or 'r'; then senders: none
-- Returns an outcome for each
local META, EXPIRIES = KEYS[11], KEYS[12]
local INBOX_MAX, QUEUE_MAX, INLINE, BYTES_MAX = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

local function to_queue(capability, text, expires)
  local capable, refused = enqueue(5, META, MEMBERS, QUEUE_MAX, RETENTION, now, text, capability, expires)
  if not capable then return refused end
  note_begun(capability)
  return 'redriven'
end

local function to_lane(agent, letter, lane, text, expires)
  local session = redis.call('HGET', SESSIONS, agent)
  if not session then return 'unknown_target' end
  local beating = string.find(session, ' - @', 1, true)
  if letter == 'i' and INBOX_MAX > 0 and not beating and redis.call('XLEN', lane) >= INBOX_MAX then return 'inbox_full' end
  if letter == 'i' and BYTES_MAX > 0 and inbox_held + #text > BYTES_MAX then return 'quota_exceeded' end
  local field, place = count_in(BYTES_MAX, letter, text), nil
  if expires == '' then
    place = letter .. string.sub(redis.call('XADD', lane, '0-*', field, text), 3)
  else
    place = letter .. string.sub(redis.call('XADD', lane, '0-*', field, text, 'x', expires), 3)
    redis.call('ZADD', EXPIRIES, expires, place .. ':' .. agent)
  end
  note_entry(session, agent, place, #text <= INLINE and text or '', expires)
  return 'redriven'
end

local reply, removed = {}, 0
for i = 12, LAST_ARG, 5 do
  local position, text, expires, lane, letter = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local letters = redis.call('XRANGE', DEAD, position, position)
  local outcome = 'gone'
  if letters[1] then
    local fields = letters[1][2]
    local agent, stored, capability = fields[2], fields[10], fields[12] or ''
    if not message_id(stored) then
      outcome = 'not_a_message'
    elseif capability ~= '' then
      outcome = to_queue(capability, text, expires)
    else
      outcome = to_lane(agent, letter, KEYS[12 + lane], text, expires)
    end
    if outcome == 'redriven' then removed = removed + redis.call('XDEL', DEAD, position) end
  end
  reply[#reply + 1] = outcome
end
keep_count()
if removed > 0 then redis.call('HINCRBY', META, 'deadRemoved', removed) end
tell()
return reply
