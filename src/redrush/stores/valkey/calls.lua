-- Part of the library (library.lua): its functions by name.

-- KEYS: meta, log. ARGV: epoch, replicas, upto. Drops records up to this seq and none after. Returns how many.
local function trim(keys, args)
  local seq, refusal = state_under(keys[1], args[1])
  if not seq then
    return refusal
  end
  return redis.call('XTRIM', keys[2], 'MINID', '=', integer(math.min(tonumber(args[3]), seq) + 1) .. '-0')
end

local function register(name, callback, flags)
  redis.register_function{function_name = 'redrush_@{digest}_' .. name, callback = callback, flags = flags or {}}
end

register('claim', claim)
register('claim_any', claim_any)
register('open', open)
register('noted', noted)
register('take', take)
register('give', give)
register('finish', finish)
register('offer', offer)
register('enter', enter)
register('found', found)
-- A full memory must not keep the recorder from reading and trimming, nor a warden from its work.
register('touch', touch, {'allow-oom'})
register('moved', moved, {'allow-oom'})
register('trim', trim, {'allow-oom'})
register('fence', fence, {'allow-oom'})
register('prove', prove, {'allow-oom'})
register('doubt', doubt, {'allow-oom'})
