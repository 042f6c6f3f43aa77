-- Takes a batch of sends of one hub: decides on each, in order, and writes lanes, queues, log and seq memory.
-- KEYS[1] meta (hash) 2 names (hash) 3 sessions (hash) 4 members (zset) 5 broadcasts (stream) 6 expiries (zset)
-- KEYS[7 …]        lanes (streams), then producers of senders (hashes), then receipts of lanes' agents (hashes); where something goes to
--   a work queue the last six are tasks, states (hashes), waiting (zset, by lex), sizes (hash), agenda (zset), orphaned (hash)
-- ARGV[1] PUBLISH or SPUBLISH  [2] channel prefix  [3] hub  [4] inboxMax  [5] broadcastMax  [6] bytes of text a signal carries
-- ARGV[7] slots of a producer  [8] agents  [9] lanes  [10] runs  [11] producers keys  [12] queueMax  [13] retention (ms, 0: for ever)
-- ARGV[14] entries of an inbox of an agent that lives by heartbeats (0: no limit)  [15] their time to live (ms, 0: for ever)
-- ARGV[16] bytes in the namespace's inboxes (0: no limit); then the agents' ids; for each lane: agent's place, 'i' or 'r'; for each run of one sender:
--   its place, fence (or '@<door>:' of who has no session, then '!' where it has to be registered, then its owner or '': not looked at), place of its producers key (0: no seq), producer, first seq, number of sends, and the sends:
--   'a' lane text | 'A' lane text expiresAt name asLeader receipts | 'l' lane text expiresAt asLeader receipts (lane 0: no guess;
--     receipts: place of the key, 0: no receipt, below 0: only of a failure) | 'm' all|group|capability value echo text expiresAt asLeader
--   'q' capability text expiresAt asLeader '1': fail where nobody has it, '1': receipt, 'f': only of a failure | 't' recipients asLeader | 'r' code
-- Returns one reply a send: the entry's number, or text:
--   B<number> <recipients> broadcast (of a sender without a session also their ids, JSON), Q<recipients> queued, C counted,
--   D<recipients> duplicate, E<code> refused now, R<code> refused before, M<agent> moved, L<ids, JSON> moved: these get copies and some of their
--   inboxes are not declared, P postponed, X fenced, G<expected> gap, O too old
local META, NAMES, SESSIONS, MEMBERS, BROADCASTS, EXPIRIES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local PUBLISH, CHANNELS, HUB, INBOX_MAX, LOG_MAX = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local INLINE, SLOTS, agents, lanes, runs = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local PRODUCERS, QUEUE_MAX, RETENTION = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local BEATING_MAX, BEATING_TTL, BYTES_MAX, IDS = tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16]), 16
local call, sub, find = redis.call, string.sub, string.find

local sessions = {}
-- Lua unpacks some thousands at most.
for from = 1, agents, 1000 do
  local upto = math.min(from + 999, agents)
  for i, session in ipairs(call('HMGET', SESSIONS, unpack(ARGV, IDS + from, IDS + upto))) do sessions[from - 1 + i] = session end
end
local at = IDS + 1 + agents
local lane_agent, lane_letter, lane_length, lane_hub = {}, {}, {}, {}
for lane = 1, lanes do
  lane_agent[lane], lane_letter[lane] = tonumber(ARGV[at]), ARGV[at + 1]
  at = at + 2
end
local replies, signals = {}, {}
local leader = false
-- The clock (ms), once something needs it.
local now
local function now_ms()
  if not now then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return now
end

local function leads(agent, term)
  if term == '' then return true end
  leader = leader or call('HMGET', META, 'leader', 'term')
  return leader[1] == agent and leader[2] == term
end

-- An entry at the end of a lane: its number, or the code of a refusal. `receipts`: place of the key, below 0: only of a failure, nil or 0: none. `copy`: of a broadcast;
-- it is counted, and never refused.
local function append(lane, text, expires, receipts, sender, copy)
  local agent, letter = lane_agent[lane], lane_letter[lane]
  if not sessions[agent] then return nil, 'unknown_target' end
  local key = KEYS[6 + lane]
  local beating = find(sessions[agent], ' - @', 1, true)
  if beating then
    -- It may never acknowledge: what is too old or too much goes, and nobody is refused for it. Number 0: see expire-entries.lua.
    if BEATING_TTL > 0 then expires = string.format('%.0f', math.min(tonumber(expires) or math.huge, now_ms() + BEATING_TTL)) end
    if letter == 'i' and BEATING_MAX > 0 and call('XLEN', key) >= BEATING_MAX then call('ZADD', EXPIRIES, 0, 'i0:' .. ARGV[IDS + agent]) end
  elseif letter == 'i' and INBOX_MAX > 0 then
    local length = lane_length[lane] or call('XLEN', key)
    lane_length[lane] = length
    if length >= INBOX_MAX then return nil, 'inbox_full' end
  end
  if letter == 'i' and BYTES_MAX > 0 and not copy and inbox_held + #text > BYTES_MAX then return nil, 'quota_exceeded' end
  if lane_length[lane] then lane_length[lane] = lane_length[lane] + 1 end
  local field, number = count_in(BYTES_MAX, letter, text), nil
  if expires == '' then
    number = sub(call('XADD', key, '0-*', field, text), 3)
  else
    number = sub(call('XADD', key, '0-*', field, text, 'x', expires), 3)
    call('ZADD', EXPIRIES, expires, letter .. number .. ':' .. ARGV[IDS + agent])
  end
  if receipts and receipts ~= 0 then
    local id = string.match(text, '^{"type":"message","id":"([^"]*)"')
    local told = receipts > 0 and '-' or 'f'
    call('HSET', KEYS[6 + lanes + PRODUCERS + math.abs(receipts)], letter .. number, told .. id .. ' ' .. sender)
  end
  local hub = lane_hub[lane]
  if not hub then
    hub = string.match(sessions[agent], '^%d+ (%S+)')
    lane_hub[lane] = hub
  end
  if hub ~= HUB and hub ~= '-' then
    local signal = signals[hub] or {}
    signals[hub] = signal
    signal[#signal + 1] = letter .. number .. ' ' .. expires
    signal[#signal + 1] = cjson.encode(ARGV[IDS + agent])
    signal[#signal + 1] = #text <= INLINE and text or ''
  end
  return tonumber(number)
end

local function members_of(kind, value)
  local prefix, ids = kind .. #value .. ':' .. value .. ':', {}
  for _, entry in ipairs(call('ZRANGEBYLEX', MEMBERS, '[' .. prefix, '[' .. prefix .. '\255')) do ids[#ids + 1] = sub(entry, #prefix + 1) end
  return ids
end

-- Agents that live by heartbeats: id → the lane of its copies (0: not declared), and those that are offline, which get none.
local copied, silent, silents, undeclared
local function look_at_beating()
  if copied then return end
  copied, silent, silents = {}, {}, 0
  local lane_of = {}
  for lane = 1, lanes do
    if lane_letter[lane] == 'i' then lane_of[ARGV[IDS + lane_agent[lane]]] = lane end
  end
  local ids = members_of('b', '+')
  for _, id in ipairs(ids) do
    copied[id] = lane_of[id] or 0
    if copied[id] == 0 then undeclared = ids end
  end
  for _, id in ipairs(members_of('b', '-')) do silent[id], silents = true, silents + 1 end
end

local function json_list(ids) return #ids > 0 and cjson.encode(ids) or '[]' end

-- `named`: the answer names the recipients.
local function broadcast(from, of, value, echo, text, expires, named)
  look_at_beating()
  if undeclared then return 'L' .. json_list(undeclared) end
  local count, list, ids = 0, '', {}
  local function add(candidates)
    for _, id in ipairs(candidates) do
      if (echo or id ~= from) and not silent[id] then ids[#ids + 1] = id end
    end
  end
  if of == 'all' then
    if named then
      add(call('HKEYS', SESSIONS))
      count = #ids
    else
      -- Who is not named is registered and has a session.
      count = call('HLEN', SESSIONS) - silents - (echo and 0 or 1)
    end
  else
    add(members_of(sub(of, 1, 1), value))
    if of == 'capability' then add(members_of('h', value)) end
    count, list = #ids, json_list(ids)
  end
  if next(copied) then
    local to = copied
    if of ~= 'all' then
      to = {}
      for _, id in ipairs(ids) do to[id] = copied[id] end
    end
    for id, lane in pairs(to) do
      if echo or id ~= from then append(lane, text, expires, nil, nil, true) end
    end
  end
  local fields = { 't', text, 'f', from, 'e', echo and '1' or '0', 'r', list, 'x', expires }
  local id
  if LOG_MAX > 0 then id = call('XADD', BROADCASTS, 'MAXLEN', LOG_MAX, '0-*', unpack(fields)) else id = call('XADD', BROADCASTS, '0-*', unpack(fields)) end
  local signal = 'B' .. EPOCH .. '\n' .. sub(id, 3)
  if #text + #list <= INLINE then signal = table.concat({ signal, expires, echo and '1' or '0', cjson.encode(from), list, text }, '\n') end
  call(PUBLISH, CHANNELS .. 'feed', signal)
  return 'B' .. sub(id, 3) .. ' ' .. count .. (named and ' ' .. json_list(ids) or ''), count
end

-- The queues in which something began to wait, once there is something for a queue.
local begun

-- Senders one of whose sends met another leader or name than guessed: what they sent after it must not overtake it.
local waiting = {}

for _ = 1, runs do
  local from, fence, producers, producer = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  local seq, count = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  at = at + 6
  local sender = ARGV[IDS + from]
  local session = sessions[from]
  local free = sub(fence, 1, 1) == '@'
  local fenced
  if free then
    -- Nobody speaks for an agent of another door, or owner.
    local door, must, owner = string.match(fence, '^(@%w+:)(!?)(%S*)$')
    if session then
      fenced = not find(session, ' - ' .. door, 1, true) or (owner ~= '' and string.match(session, '^%d+ %- @%w+:%d+:(%S+)$') ~= owner)
    else
      fenced = must == '!'
    end
  else
    fenced = not session or sub(session, 1, #fence + 1) ~= fence .. ' ' or find(session, ' - ', #fence + 1, true) == #fence + 1
  end
  local producers_key = producers > 0 and KEYS[6 + lanes + producers]
  local last = producers_key and tonumber(call('HGET', producers_key, producer .. '#last') or 0)
  local before = last

  for _ = 1, count do
    local kind = ARGV[at]
    local reply, refused, recipients
    local arity = kind == 'a' and 3 or kind == 'A' and 7 or kind == 'l' and 6 or (kind == 'm' or kind == 'q') and 7 or kind == 't' and 3 or 2
    if fenced then
      reply = 'X'
    elseif last and seq <= last then
      if last - seq >= SLOTS then
        reply = 'O'
      else
        local slot_seq, answer = string.match(call('HGET', producers_key, producer .. '#' .. seq % SLOTS) or '', '^(%d+) (.*)$')
        if tonumber(slot_seq) ~= seq then reply = 'D1' elseif sub(answer, 1, 1) == '!' then reply = 'R' .. sub(answer, 2) else reply = 'D' .. answer end
      end
    elseif waiting[from] then
      reply = 'P'
    elseif last and seq > last + 1 then
      reply = 'G' .. string.format('%.0f', last + 1)
    elseif kind == 'a' then
      reply, refused = append(tonumber(ARGV[at + 1]), ARGV[at + 2], '')
    elseif kind == 'A' then
      local lane, name = tonumber(ARGV[at + 1]), ARGV[at + 4]
      local holder = name ~= '' and (call('HGET', NAMES, name) or '')
      if not leads(sender, ARGV[at + 5]) then
        refused = 'stale_term'
      elseif holder == '' then
        refused = 'unknown_target'
      elseif holder and (lane == 0 or holder ~= ARGV[IDS + lane_agent[lane]]) then
        reply = 'M' .. holder
      else
        reply, refused = append(lane, ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 6]), sender)
      end
    elseif kind == 'l' then
      local lane = tonumber(ARGV[at + 1])
      leader = leader or call('HMGET', META, 'leader', 'term')
      if not leads(sender, ARGV[at + 4]) then
        refused = 'stale_term'
      elseif not leader[1] or leader[1] == '' then
        refused = 'no_leader'
      elseif lane == 0 or leader[1] ~= ARGV[IDS + lane_agent[lane]] then
        reply = 'M' .. leader[1]
      else
        reply, refused = append(lane, ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 5]), sender)
      end
    elseif kind == 'm' then
      if leads(sender, ARGV[at + 6]) then
        reply, recipients = broadcast(sender, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] == '1', ARGV[at + 4], ARGV[at + 5], free)
      else
        refused = 'stale_term'
      end
    elseif kind == 'q' then
      if leads(sender, ARGV[at + 4]) then
        local capability = ARGV[at + 1]
        begun = begun or {}
        recipients, refused = enqueue(#KEYS - 5, META, MEMBERS, QUEUE_MAX, RETENTION, now_ms(), ARGV[at + 2], capability, ARGV[at + 3],
          ARGV[at + 6] ~= '0' and sender or nil, ARGV[at + 5] == '1', ARGV[at + 6] == 'f' or nil)
        if recipients then reply, begun[capability] = 'Q' .. recipients, true end
      else
        refused = 'stale_term'
      end
    elseif kind == 't' then
      if leads(sender, ARGV[at + 2]) then reply, recipients = 'C', tonumber(ARGV[at + 1]) else refused = 'stale_term' end
    else
      refused = ARGV[at + 1]
    end

    if refused then reply = 'E' .. refused end
    local letter = type(reply) == 'string' and sub(reply, 1, 1)
    if letter == 'M' or letter == 'L' then
      waiting[from] = true
    elseif last and (not letter or letter == 'E' or letter == 'B' or letter == 'C' or letter == 'Q') then
      last = seq
      -- A direct message's answer is always 1 recipient: only the others need to be remembered.
      if refused or recipients then
        call('HSET', producers_key, producer .. '#' .. seq % SLOTS, string.format('%.0f', seq) .. ' ' .. (refused and '!' .. refused or recipients))
      end
    end
    replies[#replies + 1] = reply
    seq = seq + 1
    at = at + arity
  end
  if last ~= before then call('HSET', producers_key, producer .. '#last', string.format('%.0f', last)) end
end

keep_count()
if begun and next(begun) then
  local capabilities = {}
  for capability in pairs(begun) do capabilities[#capabilities + 1] = capability end
  call(PUBLISH, CHANNELS .. 'feed', 'J\n' .. cjson.encode({ kind = 'queued', capabilities = capabilities }))
end
for hub, signal in pairs(signals) do call(PUBLISH, CHANNELS .. 'hub:' .. hub, 'E' .. EPOCH .. '\n' .. table.concat(signal, '\n')) end
return replies
