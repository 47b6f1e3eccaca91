-- Part of the library (library.lua): records are entered as they are.

-- The runs of the queue, in order.
local function queue_of(pot)
  local runs = {{pot.slot, pot.stop}}
  for k = 1, pot.small and #pot.queue or 0, 2 do
    runs[#runs + 1] = {pot.queue[k], pot.queue[k + 1]}
  end
  for _, text in ipairs(pot.small and {} or redis.call('LRANGE', list_of(pot, 'unclaimed'), 0, -1)) do
    runs[#runs + 1] = {parse_run(text)}
  end
  return runs
end

-- Takes this run out of the queue, wherever in it it stands; false, and nothing is changed, if it is not whole in one run.
local function draw(pot, from, to, is_granted)
  if pot.slot == from and to <= pot.stop and is_granted then
    pot.slot = to
    return true
  end
  local runs = queue_of(pot)
  local found
  for k, run in ipairs(runs) do
    found = found or (run[1] <= from and to <= run[2] and from < to and k)
  end
  if not found then
    return false
  end
  local run = table.remove(runs, found)
  table.insert(runs, found, {to, run[2]})
  table.insert(runs, found, {run[1], from})
  if not has_members(pot) then
    for _, gone in ipairs({{pot.first, pot.slot}, is_granted and {from, to} or {0, 0}}) do
      if gone[1] < gone[2] then
        redis.call('RPUSH', list_of(pot, 'granted'), integer(gone[1]) .. ' ' .. integer(gone[2]))
      end
    end
  end
  pot.queue = {}
  if not pot.small then
    redis.call('DEL', list_of(pot, 'unclaimed'))
  end
  pot.first, pot.slot, pot.is_anew = pot.stop, pot.stop, true
  for _, rest in ipairs(runs) do
    if rest[1] < rest[2] and pot.slot == pot.stop then
      pot.first, pot.slot, pot.stop = rest[1], rest[1], rest[2]
    else
      push(pot, rest)
    end
  end
  return true
end

-- Takes these slots, one by one, out of those that wait; false if one of them does not.
local function draw_waiting(pot, from, to)
  local waiting = pop_waiting(pot, pot.left)
  local kept, gone = {}, 0
  for _, slot in ipairs(waiting) do
    if from <= slot and slot < to then
      gone = gone + 1
    else
      kept[#kept + 1] = slot
    end
  end
  local left = gone == to - from and kept or waiting
  if pot.small then
    pot.waiting = left
  else
    for _, slot in ipairs(left) do
      redis.call('RPUSH', list_of(pot, 'waiting'), integer(slot))
    end
    pot.waits = pot.waits + #left
  end
  return gone == to - from
end

-- Grants this very slot; nil, or why it cannot be.
local function enter_grant(pot, user, slot, request, at_us_packed, number, until_us)
  local name = field_of(user, request)
  if redis.call('HEXISTS', pot.grants, name) == 1 then
    return refuse('HELD', user)
  elseif not draw(pot, slot, slot + 1, true) then
    return refuse('ABSENT', integer(slot) .. ' ' .. integer(slot + 1))
  end
  pot.left = pot.left - 1
  if request ~= '' then
    pot.asked = true
    redis.call('HINCRBY', pot.grants, COUNT .. user, 1)
  end
  local value = keep(pot, user, request, slot, at_us_packed, number, until_us)
  pot.fields, pot.filled = {}, 0
  redis.call('HSET', pot.grants, name, value)
  return nil
end

local function packed(at_us)
  return struct.pack('>I7', tonumber(at_us))
end

local function enter_granted(pot, first, at_us, users)
  local seen = {}
  for _, user in ipairs(users) do
    if seen[user] or redis.call('HEXISTS', pot.grants, user) == 1 then
      return refuse('HELD', user)
    end
    seen[user] = true
  end
  if not draw(pot, first, first + #users, true) then
    return refuse('ABSENT', integer(first) .. ' ' .. integer(first + #users))
  end
  for k, user in ipairs(users) do
    keep(pot, user, '', first + k - 1, packed(at_us), 0, 0)
  end
  pot.left = pot.left - #users
  return nil
end

local function enter_scattered(by_name, at_us, users, columns)
  local names, slots, requests, numbers, until_us = unpack(columns)
  for k, name in ipairs(names) do
    local ends = until_us and until_us[k] ~= cjson.null and until_us[k] or 0
    local refusal = enter_grant(by_name[name], users[k], slots[k], requests and requests[k] or '', packed(at_us),
      numbers and numbers[k] or 0, ends)
    if refusal then
      return refusal
    end
  end
  return nil
end

local function enter_ends(pots, kind, users, columns)
  local places, at = {}, {}
  for number, pot in ipairs(pots) do
    at[pot.name] = number - 1
  end
  for k, name in ipairs(columns[1]) do
    places[k] = at[name]
  end
  local _, changed = end_holds(pots, kind, {places, users, columns[2], columns[3], columns[4]})
  return changed.count ~= #users and refuse('ABSENT', kind) or nil
end

-- Why these runs cannot be taken: nothing of them is or was granted here, or one is not whole in the queue and does not
-- wait; nil if they can be. Changes nothing, so that a refusal leaves no trace.
local function why_not_taken(pot, runs)
  local queue, slots = queue_of(pot), {}
  for _, slot in ipairs(pot.waiting or (pot.hold and redis.call('LRANGE', list_of(pot, 'waiting'), 0, -1)) or {}) do
    slots[tonumber(slot)] = true
  end
  for _, run in ipairs(runs) do
    local is_whole = run[1] == run[2]
    for _, other in ipairs(queue) do
      is_whole = is_whole or (other[1] <= run[1] and run[2] <= other[2])
    end
    local waits = not is_whole
    for slot = run[1], run[2] - 1 do
      waits = waits and slots[slot]
      if not waits then
        break
      end
    end
    if not is_whole and not waits then
      return refuse(overlap(runs, held_runs(pot)) and 'GRANTED' or 'ABSENT', integer(run[1]) .. ' ' .. integer(run[2]))
    end
  end
  return nil
end

local function enter_taken(pot, runs)
  local refusal = why_not_taken(pot, runs)
  if refusal then
    return refusal
  end
  for _, run in ipairs(runs) do
    if run[1] < run[2] and not draw(pot, run[1], run[2], false) then
      draw_waiting(pot, run[1], run[2])
    end
    pot.left = pot.left - (run[2] - run[1])
  end
  if has_members(pot) then
    pot.members = without(members_of(pot), runs)
  end
  return nil
end

local function enter_given(pot, runs)
  local met = overlap(runs, held_runs(pot))
  if met then
    return refuse('ALREADY', met)
  end
  give_to(pot, runs)
  return nil
end

-- Does what the record says to these pots; returns nil, or why that cannot be, and how many grants it made. KEYS as of
-- `enter`.
local function enter_into(pots, keys, record)
  local pot, kind, slots, transfer = pots[1], record.kind, record.slots, record.transfer
  if kind == 'granted' then
    local users = cjson.decode(record.users)
    return enter_granted(pot, tonumber(record.first), record.at_us, users), #users
  elseif kind == 'scattered' then
    local by_name, users = {}, cjson.decode(record.users)
    for _, one in ipairs(pots) do
      by_name[one.name] = one
    end
    return enter_scattered(by_name, record.at_us, users, cjson.decode(slots)), #users
  elseif kind == 'confirmed' or kind == 'released' then
    return enter_ends(pots, kind, cjson.decode(record.users), cjson.decode(slots)), 0
  elseif kind == 'offered' then
    local _, text = offer_pot(pot)
    return text ~= slots and refuse('ABSENT', slots) or nil, 0
  end
  local moves = keys[kind == 'taken' and 3 or 4]
  if redis.call('HEXISTS', moves, transfer) == 1 then
    return refuse('HELD', transfer), 0
  end
  local refusal = (kind == 'taken' and enter_taken or enter_given)(pot, runs_in(slots))
  if not refusal and kind == 'taken' then
    note_taken(keys[1], moves, transfer, slots .. ' ' .. record.pot)
  elseif not refusal then
    redis.call('HSET', moves, transfer, slots .. ' ' .. record.pot)
  end
  return refusal, 0
end

-- Enters one record into a set as it is, whatever would come next in its pots: for a set that is rebuilt from its
-- journal, and for a grant that is honoured by its receipt (rebuild.py).
-- KEYS: meta, log, taken, given, and each pot. ARGV: epoch, or 'restoring'; seq, or 'next'; then the record's columns as
-- text, '' where it has none: kind, pot, first_slot, count, at_us, users, slots, transfer; and of an opening limit and
-- hold. Returns the seq, or an error reply that begins with TERMS, GAP, ABSENT (a slot is not there to be granted; of a
-- take, nothing is or was granted here), GRANTED (a slot is not there to be taken any more), HELD (a user has a grant),
-- ALREADY (the slot is here).
local function enter(keys, args)
  local meta, log = keys[1], keys[2]
  local epoch, wanted_seq = args[1], args[2]
  local held = redis.call('HMGET', meta, 'epoch', 'seq', 'restoring', 'chain')
  local chain, granted = string.sub(held[4] or '', 1, CHAIN_DIGITS), tonumber(string.sub(held[4] or '', 18)) or 0
  if (epoch == 'restoring' and not (held[3] and not held[1])) or (epoch ~= 'restoring' and held[1] ~= epoch) then
    return refuse('TERMS', held[1] or 'none')
  end
  local seq = tonumber(held[2]) + 1
  if wanted_seq ~= 'next' and tonumber(wanted_seq) < seq then
    return tonumber(wanted_seq)  -- entered before
  elseif wanted_seq ~= 'next' and tonumber(wanted_seq) > seq then
    return refuse('GAP', integer(seq))
  end

  local record = {kind = args[3], pot = args[4], first = args[5], at_us = args[7], users = args[8], slots = args[9],
    transfer = args[10]}
  if record.kind == 'opened' then
    if pot_with(keys[5], {}) then
      return refuse('ALREADY', record.pot)
    end
    write_opening(keys[5], record.pot, record.first, args[6], args[11], args[12], record.transfer)
  else
    local pots = pots_of(keys, 5)
    if not pots then
      return refuse('ABSENT', record.pot)
    end
    local refusal, count = enter_into(pots, keys, record)
    if refusal then
      return refusal
    end
    for _, pot in ipairs(pots) do
      store_pot(pot)
    end
    granted = granted + count
    if count > 0 and epoch ~= 'restoring' then
      redis.call('HINCRBY', meta, 'honoured', count)
    end
  end

  local fields, linked = {}, {chain, record.kind, record.pot}
  for k, name in ipairs({'first_slot', 'count', 'at_us', 'users', 'slots', 'transfer'}) do
    local value = args[k + 4]
    if value ~= '' then
      fields[#fields + 1], fields[#fields + 2] = name, value
      linked[#linked + 1] = record.kind == 'granted' and name == 'users' and fingerprint(value) or value
    end
  end
  fields[#fields + 1], fields[#fields + 2] = 'before', chain
  redis.call('XADD', log, integer(seq) .. '-0', 'kind', record.kind, 'pot', record.pot, unpack(fields))
  redis.call('HSET', meta, 'seq', integer(seq),
    'chain', log_end(fingerprint(table.concat(linked, ' ')), integer(granted)))
  return seq
end
