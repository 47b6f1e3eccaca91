-- Run in one transaction behind REPLICAOF NO ONE: marks how much of its primary's history this server has, which is what
-- candidates for a promotion are ranked by. Gates may write to a detached server what is never acknowledged, so the mark
-- is made once per epoch. KEYS: meta. Returns epoch, replicas needed, and the seq of the last record it had.

local held = redis.call('HMGET', KEYS[1], 'epoch', 'replicas', 'seq', 'detached')
local epoch, replicas, seq, detached = unpack(held)
if not epoch then
  return {false, false, '0'}
end
local at_epoch, at_seq = string.match(detached or '', '^(%d+) (%d+)$')
if at_epoch ~= epoch then
  at_seq = seq
  redis.call('HSET', KEYS[1], 'detached', epoch .. ' ' .. seq)
end
return {epoch, replicas, at_seq}
