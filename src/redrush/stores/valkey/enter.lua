-- Enters one record into a set as it is, whatever would come next in the pot: for a set that is rebuilt from its journal,
-- and for a grant that is honoured by its receipt. See library.lua for the keys and rebuild.py for the use.
--
-- KEYS: meta, log, pot, unclaimed, granted, grants, taken, given.
-- ARGV: epoch, or 'restoring'; seq, or 'next'; kind; pot; then for a grant: first, at_us, at_us in 7 bytes, users as JSON;
-- else: runs as JSON, transfer (of an opening: one run, and nothing). Returns the seq, or an error reply that begins with
-- TERMS, GAP, ABSENT (a slot is not there to be taken or granted), HELD (a user has a grant), ALREADY (the slot is here).

local meta, log, pot, unclaimed, granted, grants, taken, given = unpack(KEYS)
local epoch, wanted_seq, kind, name = unpack(ARGV)

local function refuse(code, detail)
  return redis.error_reply(code .. ' ' .. detail)
end

local function integer(number)
  return string.format('%d', number)
end

local function text_of(first, stop)
  return integer(first) .. ' ' .. integer(stop)
end

local function parse(text)
  local first, stop = string.match(text, '^(%d+) (%d+)$')
  return {tonumber(first), tonumber(stop)}
end

local held = redis.call('HMGET', meta, 'epoch', 'seq', 'restoring', 'chain')
local chain, granted_before = string.sub(held[4] or '', 1, 16), tonumber(string.sub(held[4] or '', 18)) or 0
if (epoch == 'restoring' and not (held[3] and not held[1])) or (epoch ~= 'restoring' and held[1] ~= epoch) then
  return refuse('TERMS', held[1] or 'none')
end
local seq = tonumber(held[2]) + 1
if wanted_seq ~= 'next' then
  if tonumber(wanted_seq) < seq then
    return tonumber(wanted_seq)  -- entered before
  end
  if tonumber(wanted_seq) > seq then
    return refuse('GAP', integer(seq))
  end
end

local function fingerprint(text)
  return string.sub(redis.sha1hex(text), 1, 16)
end

-- Keeps the record, after which there are so many grants. ARGV: names and values of its other fields, in order; their
-- values continue the fingerprint as in library.lua.
local function keep(granted_now, ...)
  local fields = {...}
  local linked = {chain, kind, name}
  for k = 2, #fields, 2 do
    linked[#linked + 1] = fields[k - 1] == 'users' and fingerprint(fields[k]) or fields[k]
  end
  fields[#fields + 1] = 'before'
  fields[#fields + 1] = chain
  redis.call('XADD', log, integer(seq) .. '-0', 'kind', kind, 'pot', name, unpack(fields))
  redis.call('HSET', meta, 'seq', integer(seq),
    'chain', fingerprint(table.concat(linked, ' ')) .. ' ' .. integer(granted_now))
end

if kind == 'opened' then
  if redis.call('EXISTS', pot) == 1 then
    return refuse('ALREADY', name)
  end
  local run = cjson.decode(ARGV[5])[1]
  local first, count = integer(run[1]), integer(run[2])
  keep(granted_before, 'first_slot', first, 'count', count)
  redis.call('HSET', pot, 'opened', first .. ' ' .. count, 'first', first, 'next', first,
    'stop', integer(run[1] + run[2]), 'left', count, 'claimed', '0')
  return seq
end

local state = redis.call('HMGET', pot, 'first', 'next', 'stop', 'left', 'claimed')
if not state[1] then
  return refuse('ABSENT', name)
end
local head_first, head_next, head_stop = tonumber(state[1]), tonumber(state[2]), tonumber(state[3])
local left, claimed = tonumber(state[4]), tonumber(state[5])
local runs = {{head_next, head_stop}}
for _, text in ipairs(redis.call('LRANGE', unclaimed, 0, -1)) do
  runs[#runs + 1] = parse(text)
end

-- Takes the run out of those unclaimed; false if it is not whole in one of them.
local function remove(first, stop)
  for k, run in ipairs(runs) do
    if run[1] <= first and stop <= run[2] and first < stop then
      table.remove(runs, k)
      if stop < run[2] then
        table.insert(runs, k, {stop, run[2]})
      end
      if run[1] < first then
        table.insert(runs, k, {run[1], first})
      end
      return true
    end
  end
  return false
end

-- Writes the pot anew: a head of which nothing is granted, and the runs after it.
local function write(granted_now)
  if head_first < head_next then
    redis.call('RPUSH', granted, text_of(head_first, head_next))
  end
  if granted_now then
    redis.call('RPUSH', granted, granted_now)
  end
  redis.call('DEL', unclaimed)
  local head = {head_stop, head_stop}
  for _, run in ipairs(runs) do
    if run[1] < run[2] then
      if head[1] == head[2] then
        head = run
      else
        redis.call('RPUSH', unclaimed, text_of(run[1], run[2]))
      end
    end
  end
  redis.call('HSET', pot, 'first', integer(head[1]), 'next', integer(head[1]), 'stop', integer(head[2]),
    'left', integer(left), 'claimed', integer(claimed))
end

if kind == 'granted' then
  local first, at_us, at_us_packed, users_text = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
  local users = cjson.decode(users_text)
  local fields, seen = {}, {}
  for k, user in ipairs(users) do
    if seen[user] or redis.call('HEXISTS', grants, user) == 1 then
      return refuse('HELD', user)
    end
    seen[user] = true
    fields[#fields + 1] = user
    fields[#fields + 1] = struct.pack('>I7', first + k - 1) .. at_us_packed
  end
  local is_next = first == head_next and first + #users <= head_stop
  if not is_next and not remove(first, first + #users) then
    return refuse('ABSENT', text_of(first, first + #users))
  end
  keep(granted_before + #users, 'first_slot', integer(first), 'count', #users, 'at_us', at_us, 'users', users_text)
  left, claimed = left - #users, claimed + #users
  if epoch ~= 'restoring' then
    redis.call('HINCRBY', meta, 'honoured', #users)
  end
  for start = 1, #fields, 7000 do
    redis.call('HSET', grants, unpack(fields, start, math.min(start + 6999, #fields)))
  end
  if is_next then
    redis.call('HSET', pot, 'next', integer(first + #users), 'left', integer(left), 'claimed', integer(claimed))
  else
    write(text_of(first, first + #users))
  end
  return seq
end

local moved, transfer = cjson.decode(ARGV[5]), ARGV[6]
local count = 0
for _, run in ipairs(moved) do
  count = count + run[2]
end
if kind == 'taken' then
  if redis.call('HEXISTS', taken, transfer) == 1 then
    return refuse('HELD', transfer)
  end
  for _, run in ipairs(moved) do
    if run[2] > 0 and not remove(run[1], run[1] + run[2]) then
      return refuse('ABSENT', text_of(run[1], run[1] + run[2]))
    end
  end
  left = left - count
  keep(granted_before, 'slots', ARGV[5], 'transfer', transfer)
  redis.call('HSET', taken, transfer, ARGV[5] .. ' ' .. name)
else
  if redis.call('HEXISTS', given, transfer) == 1 then
    return refuse('HELD', transfer)
  end
  local here = {{head_first, head_next}, unpack(runs)}
  for _, text in ipairs(redis.call('LRANGE', granted, 0, -1)) do
    here[#here + 1] = parse(text)
  end
  for _, run in ipairs(moved) do
    for _, other in ipairs(here) do
      if run[2] > 0 and run[1] < other[2] and other[1] < run[1] + run[2] then
        return refuse('ALREADY', text_of(run[1], run[1] + run[2]))
      end
    end
    runs[#runs + 1] = {run[1], run[1] + run[2]}
  end
  left = left + count
  keep(granted_before, 'slots', ARGV[5], 'transfer', transfer)
  redis.call('HSET', given, transfer, ARGV[5] .. ' ' .. name)
end
write(nil)
return seq
