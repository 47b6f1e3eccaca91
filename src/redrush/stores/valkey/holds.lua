-- Part of the library (library.lua): holds are confirmed and released, released slots are offered.

-- Ends the hold, or makes it permanent, if it is one; returns what it is then: 'c' confirmed, 'r' released, 'u' unknown,
-- and whether this call has changed it.
local function end_hold(pot, kind, user, request, slot, number)
  local name = field_of(user, request)
  local value = redis.call('HGET', pot.grants, name)
  local is_same = value and struct.unpack('>I7', value) == slot
  if not pot.hold or (is_same and #value < 28) then
    return is_same and 'c' or 'u', false
  end
  if not (is_same and struct.unpack('>I7', value, 15) == number) then
    return 0 < number and number <= pot.claimed and 'r' or 'u', false
  end
  if struct.unpack('>I7', value, 22) == 0 then
    return 'c', false
  end
  pot.held = pot.held - 1
  if kind == 'confirmed' then
    redis.call('HSET', pot.grants, name, string.sub(value, 1, 21) .. string.rep('\0', 7))
    return 'c', true
  end
  redis.call('HDEL', pot.grants, name)
  if request ~= '' and redis.call('HINCRBY', pot.grants, COUNT .. user, -1) == 0 then
    redis.call('HDEL', pot.grants, COUNT .. user)
  end
  pot.returned, pot.left = pot.returned + 1, pot.left + 1
  if pot.small then
    pot.waiting[#pot.waiting + 1] = slot
  else
    redis.call('RPUSH', list_of(pot, 'waiting'), integer(slot))
    pot.waits = pot.waits + 1
  end
  return 'r', true
end

local function pots_of(keys, from)
  local pots = {}
  for number = from, #keys do
    local pot = pot_with(keys[number], {})
    if not pot then
      return nil, refuse('NOPOT', integer(number - from))
    end
    pots[number - from + 1] = pot
  end
  return pots
end

-- Ends these holds in their pots; returns what each is, and those that were changed by column.
local function end_holds(pots, kind, holds)
  local states, changed = {}, no_singles()
  local places, users, slots, requests, numbers = unpack(holds)
  for k, place in ipairs(places) do
    local pot = pots[place + 1]
    local state, is_new = end_hold(pot, kind, users[k], requests[k], slots[k], numbers[k])
    states[k] = state
    if is_new then
      add_single(changed, pot.name, users[k], integer(slots[k]), requests[k], numbers[k], 0)
    end
  end
  for _, pot in ipairs(pots) do
    if pot.hold and changed.count > 0 then
      store_pot(pot)
    end
  end
  return table.concat(states), changed
end

-- KEYS: meta, log, and each pot. ARGV: epoch, replicas, 'confirmed' or 'released', at_us, and as JSON, by column, of each
-- hold the place of its pot among KEYS (from 0), its user, slot, request and number. Returns seq, `chain`, and a letter
-- for each hold (`end_hold`).
local function finish(keys, args)
  local seq, chain, granted = state_under(keys[1], args[1])
  if not seq then
    return chain
  end
  local pots, refusal = pots_of(keys, 3)
  if not pots then
    return refusal
  end
  local kind, at_us = args[3], args[4]
  local log = log_of(keys, seq, chain)
  local states, changed = end_holds(pots, kind, cjson.decode(args[5]))
  if changed.count > 0 then
    append_many(log, kind, at_us, changed)
    redis.call('HSET', keys[1], 'seq', integer(log.seq), 'chain', log_end(log.chain, granted))
  elseif args[2] ~= '0' then
    touch_write(keys[1])
  end
  return {log.seq, log_end(log.chain, granted), states}
end

local function runs_of(slots)
  local runs = {}
  for _, slot in ipairs(slots) do
    local last = runs[#runs]
    if last and last[2] == slot then
      last[2] = slot + 1
    else
      runs[#runs + 1] = {slot, slot + 1}
    end
  end
  return runs
end

local function text_of_runs(runs)
  local texts = {}
  for k, run in ipairs(runs) do
    texts[k] = '[' .. integer(run[1]) .. ',' .. integer(run[2] - run[1]) .. ']'
  end
  return '[' .. table.concat(texts, ',') .. ']'
end

-- Appends a run to the queue.
local function push(pot, run)
  if run[1] == run[2] then
    return
  elseif pot.small then
    pot.queue[#pot.queue + 1], pot.queue[#pot.queue + 2] = run[1], run[2]
  else
    redis.call('RPUSH', list_of(pot, 'unclaimed'), integer(run[1]) .. ' ' .. integer(run[2]))
  end
end

-- Takes up to so many slots that wait, the first ones; returns them.
local function pop_waiting(pot, count)
  if pot.small then
    local popped = {}
    for k = 1, math.min(count, #pot.waiting) do
      popped[k] = pot.waiting[k]
    end
    pot.waiting = rest_of(pot.waiting, #popped)
    return popped
  end
  local popped = pot.hold and count > 0 and redis.call('LPOP', list_of(pot, 'waiting'), integer(count)) or {}
  for k, slot in ipairs(popped) do
    popped[k] = tonumber(slot)
  end
  pot.waits = pot.waits - #popped
  return popped
end

-- Lets what waits be claimed again; returns how many slots that are, and the runs as text.
local function offer_pot(pot)
  local runs, count = runs_of(pop_waiting(pot, pot.left)), 0
  for _, run in ipairs(runs) do
    push(pot, run)
    count = count + run[2] - run[1]
  end
  if count > 0 then
    store_pot(pot)
  end
  return count, text_of_runs(runs)
end

-- KEYS: meta, log, and each pot. ARGV: epoch, replicas. Returns seq, `chain`, and how many slots were offered.
local function offer(keys, args)
  local seq, chain, granted = state_under(keys[1], args[1])
  if not seq then
    return chain
  end
  local pots, refusal = pots_of(keys, 3)
  if not pots then
    return refusal
  end
  local log, offered = log_of(keys, seq, chain), 0
  for _, pot in ipairs(pots) do
    local count, text = offer_pot(pot)
    if count > 0 then
      offered = offered + count
      log.seq = log.seq + 1
      redis.call('XADD', log.log, integer(log.seq) .. '-0', 'kind', 'offered', 'pot', pot.name, 'slots', text,
        'before', log.chain)
      log.chain = fingerprint(table.concat({log.chain, 'offered', pot.name, text}, ' '))
    end
  end
  if log.seq > seq then
    redis.call('HSET', keys[1], 'seq', integer(log.seq), 'chain', log_end(log.chain, granted))
  elseif args[2] ~= '0' then
    touch_write(keys[1])
  end
  return {log.seq, log_end(log.chain, granted), offered}
end
