-- The registry as of one revision. A namespace begins with its first snapshot, so that no hub has to guess its first revision.
-- KEYS[1] meta (hash) KEYS[2] agents (hash) KEYS[3] state (hash)
-- Returns {{revision, leader, term}, {id, registration, …}, {id, state, …}}
local time = redis.call('TIME')
redis.call('HSETNX', KEYS[1], 'revision', string.format('%.0f', (tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)) * 1000))
return {
  redis.call('HMGET', KEYS[1], 'revision', 'leader', 'term'), redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3]),
}
