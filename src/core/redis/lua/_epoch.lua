-- Prelude of every script that belongs to an epoch of its namespace: in another one it does nothing. The last of KEYS is meta (hash), the last of
-- ARGV the epoch; both are taken away, so that what follows does not see them.
local EPOCH, HOME = table.remove(ARGV), table.remove(KEYS)
local known_epoch, inbox_bytes = unpack(redis.call('HMGET', HOME, 'epoch', 'inboxBytes'))
if known_epoch ~= EPOCH then return redis.error_reply('EPOCH ended') end
