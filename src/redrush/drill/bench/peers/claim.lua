-- One claim in Redis. KEYS: winners (hash: user -> slot), log (list: the user of slot k is element k). ARGV: user.
-- Returns the slot, -2 - slot for a repeat, -1 when nothing is left. The log's length is the next slot: three calls.
local slot = redis.call('LLEN', KEYS[2])
if slot >= @{slots} then
  local known = redis.call('HGET', KEYS[1], ARGV[1])
  return known and -2 - known or -1
end
if redis.call('HSETNX', KEYS[1], ARGV[1], slot) == 0 then
  return -2 - redis.call('HGET', KEYS[1], ARGV[1])
end
redis.call('RPUSH', KEYS[2], ARGV[1])
return slot
