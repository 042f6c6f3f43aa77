-- The registry as of one revision. A namespace begins with its first snapshot, so that no hub has to guess its first revision.
-- KEYS[1] meta (hash) KEYS[2] agents (hash) KEYS[3] state (hash) KEYS[4] sessions (hash)
-- Returns {{revision, leader, term}, {id, registration, …}, {id, state, …}, {id, latest heartbeat (ms), …}: those that live by heartbeats}
local time = redis.call('TIME')
redis.call('HSETNX', KEYS[1], 'revision', string.format('%.0f', (tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)) * 1000))
local beats, sessions = {}, redis.call('HGETALL', KEYS[4])
for i = 1, #sessions, 2 do
  local at = string.match(sessions[i + 1], '^%d+ %- @%w+:(%d+):?%S*$')
  if at then
    beats[#beats + 1] = sessions[i]
    beats[#beats + 1] = at
  end
end
return {
  redis.call('HMGET', KEYS[1], 'revision', 'leader', 'term'), redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3]), beats,
}
