-- Part of the library (library.lua): claims.

-- Gives a slot to each user of a pot that is not special and has no grant there; writes nothing. `held` are the values
-- of their fields, if they are known already.
-- Leaves known: {index from 0, value, …}; fields: {user, value, …} of the new grants; and runs: {{first, users}, …} of
-- the new grants. `shut`: nothing is given, grants are only found.
local function decide(pot, users, held, at_us_packed, shut)
  local known, fields, runs = {}, pot.fields, {}
  local pack, filled = struct.pack, 0  -- for each user a look for a global, and for a table's end, would cost
  local winners_by_name = {}
  local slot, stop = pot.slot, pot.stop
  local run, empty = nil, shut
  for start = 1, #users, ARGUMENTS_MAX do
    local values = held or
      redis.call('HMGET', pot.grants, unpack(users, start, math.min(start + ARGUMENTS_MAX - 1, #users)))
    for k = 1, #values do
      local user = users[start + k - 1]
      local value = values[k] or winners_by_name[user]
      if value then
        known[#known + 1] = start + k - 2
        known[#known + 1] = value
      else
        if slot == stop and not empty then
          pot.slot = slot
          empty = not next_run(pot)
          slot, stop, run = pot.slot, pot.stop, nil
        end
        if slot < stop and not shut then
          value = pack('>I7', slot) .. at_us_packed
          winners_by_name[user] = value
          fields[filled + 1] = user
          fields[filled + 2] = value
          filled = filled + 2
          if not run then
            run = {first = slot, users = {}, count = 0}
            runs[#runs + 1] = run
          end
          run.count = run.count + 1
          run.users[run.count] = user
          slot = slot + 1
        end
      end
    end
  end
  pot.slot, pot.filled, pot.known, pot.runs = slot, filled, known, runs
  pot.left, pot.claimed = pot.left - filled / 2, pot.claimed + filled / 2
end

local function field_of(user, request)
  return request == '' and user or user .. BETWEEN .. request
end

-- Notes a grant whose slot was taken out of the queue. Its value is slot and instant, in a pot of holds also its number
-- and its deadline, 0 once it is confirmed; 7 bytes each.
local function keep(pot, user, request, slot, at_us_packed, number, until_us)
  local value = struct.pack('>I7', slot) .. at_us_packed
  pot.claimed = pot.claimed + 1
  if number > 0 then
    value = value .. struct.pack('>I7', number) .. struct.pack('>I7', until_us)
    pot.held = pot.held + 1
  end
  pot.fields[pot.filled + 1], pot.fields[pot.filled + 2] = field_of(user, request), value
  pot.filled = pot.filled + 2
  return value
end

-- This server's clock, µs since the epoch. Gates may have wrong clocks; this one is the same for all gates of the set.
local function server_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The log of a call: what it has appended so far, and the fingerprint there.
local function log_of(keys, seq, chain)
  return {log = keys[2], seq = seq, chain = chain}
end

-- Single grants, or holds, of one call by column, as a record about many pots has them: `count` of them; pots, users and
-- slots, which are text; and in `details` by place, where there is any, {request, number, deadline or 0}.
local function no_singles()
  return {count = 0, pots = {}, users = {}, slots = {}}
end

local function add_single(singles, name, user, slot, request, number, until_us)
  local count = singles.count + 1
  singles.count, singles.pots[count], singles.users[count], singles.slots[count] = count, name, user, slot
  if request ~= '' or number > 0 then
    singles.details = singles.details or {}
    singles.details[count] = {request, number, until_us}
  end
end

local function text_of_numbers(numbers)
  return '[' .. table.concat(numbers, ',') .. ']'
end

-- Appends a record about many pots. `texts` are those of pots, users and slots, where they are there already.
local function append_many(log, kind, at_us, singles, texts)
  local columns = texts and {texts.pots, texts.slots} or {text_of(singles.pots), text_of_numbers(singles.slots)}
  if singles.details then
    local requests, numbers, deadlines = {}, {}, {}
    for k = 1, singles.count do
      local request, number, until_us = unpack(singles.details[k] or {'', 0, 0})
      requests[k], numbers[k] = request, integer(number)
      deadlines[k] = until_us > 0 and integer(until_us) or 'null'
    end
    columns[3], columns[4], columns[5] = text_of(requests), text_of_numbers(numbers), text_of_numbers(deadlines)
  end
  local users, text, count = texts and texts.users or text_of(singles.users), text_of_numbers(columns),
    integer(singles.count)
  log.seq = log.seq + 1
  redis.call('XADD', log.log, integer(log.seq) .. '-0', 'kind', kind, 'pot', '', 'count', count, 'at_us', at_us,
    'users', users, 'slots', text, 'before', log.chain)
  log.chain = fingerprint(table.concat({log.chain, kind, '', count, at_us, users, text}, ' '))
end

local function append_run(log, name, run, at_us, text, digest)
  local first = integer(run.first)
  log.seq = log.seq + 1
  redis.call('XADD', log.log, integer(log.seq) .. '-0', 'kind', 'granted', 'pot', name, 'first_slot', first,
    'count', run.count, 'at_us', at_us, 'users', text, 'before', log.chain)
  log.chain =
    fingerprint(log.chain .. ' granted ' .. name .. ' ' .. first .. ' ' .. run.count .. ' ' .. at_us .. ' ' .. digest)
end

-- What a claim is told that gets no slot.
local EMPTY, HELD_OUT, LIMIT, SHUT = -1, -2, -3, -4

-- The pot of a claim that is among many, and the value of its grant there; nil if it was never opened. A small pot of
-- which nothing but claims has happened, as most are, stays *plain*: {first, count, claimed}, which is its state, and
-- behind it the names and values that this call writes. To make a whole pot of it would cost more than the claim.
local function pot_of_one(pots, key, name)
  local pot = pots[key]
  if pot then
    local fields, from, to = pot.fields, 1, pot.filled
    if pot[PLAIN] then
      fields, from, to = pot, PLAIN + 1, #pot
    end
    for k = from, to, 2 do
      if fields[k] == name then
        return pot, fields[k + 1]
      end
    end
    return pot, redis.call('HGET', pot.grants or key, name)
  end
  local held = redis.call('HMGET', key, STATE, name)
  if held[1] then
    pot = cmsgpack.unpack(held[1])
    pot = #pot == PLAIN and pot or small_pot(key, pot)
  else
    pot = big_pot(key)
    held[2] = pot and redis.call('HGET', pot.grants, name)
  end
  pots[key] = pot
  return pot, held[2]
end

-- Decides on one claim of many on a pot that is not special; returns what it is told.
local function decide_one(pot, user, at_us_packed)
  if pot.slot == pot.stop and not next_run(pot) then
    return EMPTY
  end
  local slot = pot.slot
  pot.slot, pot.left = slot + 1, pot.left - 1
  keep(pot, user, '', slot, at_us_packed, 0, 0)
  return slot
end

-- The same on a plain one.
local function decide_plainly(pot, user, at_us_packed)
  local first, count, claimed = pot[1], pot[2], pot[PLAIN]
  if claimed == count then
    return EMPTY
  end
  local slot, last = first + claimed, #pot
  pot[PLAIN], pot[last + 1], pot[last + 2] = claimed + 1, user, struct.pack('>I7', slot) .. at_us_packed
  return slot
end

-- The same on any, whatever the claim. Of a hold it returns also its value, number and deadline.
local function decide_specially(pot, user, request, at_us, at_us_packed)
  local counted = COUNT .. user
  local count = redis.call('HGET', pot.grants, counted)
  for k = 1, pot.filled, 2 do
    count = pot.fields[k] == counted and pot.fields[k + 1] or count
  end
  local plain = request ~= '' and redis.call('HGET', pot.grants, user)
  for k = 1, pot.filled, 2 do
    plain = plain or pot.fields[k] == user
  end
  if tonumber(count or 0) + (plain and 1 or 0) >= pot.limit then
    return LIMIT
  elseif pot.slot == pot.stop and not next_run(pot) then
    return (pot.held > 0 or pot.left > 0) and HELD_OUT or EMPTY
  end
  local slot, number, until_us = pot.slot, 0, 0
  if pot.hold then
    number, until_us = pot.claimed + 1, tonumber(at_us) + pot.hold
  end
  pot.slot, pot.left = slot + 1, pot.left - 1
  local value = keep(pot, user, request, slot, at_us_packed, number, until_us)
  if request ~= '' then
    pot.fields[pot.filled + 1], pot.fields[pot.filled + 2] = counted, integer(tonumber(count or 0) + 1)
    pot.filled, pot.asked = pot.filled + 2, true
  end
  return slot, pot.hold and value, number, until_us
end

-- Single grants of few: each is a record as a run of one.
local function append_singles(log, singles, at_us, texts)
  if singles.count >= SCATTERED_MIN or singles.details then
    return append_many(log, 'scattered', at_us, singles, texts)
  end
  for k = 1, singles.count do
    local text = text_of({singles.users[k]})
    append_run(log, singles.pots[k], {first = singles.slots[k], count = 1}, at_us, text, fingerprint(text))
  end
end

-- Decides on claims one by one. `state` is what `state_under` returns. `claims` are users and their text; requests (nil:
-- none has a name); pots and their text (nil: all are on the third of KEYS, whose id is `pot`); and `bounds`, by pot from
-- when until when it gives new grants, where there are any.
local function claim_each(keys, args, state, claims)
  local replicas, at_us, at_us_packed, prefix = args[2], args[3], args[4], prefix_of(keys[1]) .. 'pot:'
  local users, requests, names, bounds = claims.users, claims.requests, claims.pots, claims.bounds
  local pots, told, singles, now_us, shut_us = {}, {}, no_singles(), nil, false
  local answers, found = {false}, false
  for k = 1, #users do
    local user, request, id = users[k], requests and requests[k] or '', names and names[k] or claims.pot
    local key = prefix .. id
    local pot, value = pot_of_one(pots, key, request == '' and user or field_of(user, request))
    if not pot then
      return refuse('NOPOT', integer(k - 1))
    end
    local within, is_shut = bounds and not value and bounds[id], false
    if within then
      now_us = now_us or server_us()
      is_shut = now_us < within[1] or now_us >= within[2]
    end
    if value then
      told[k], answers[#answers + 1], found = 'null', value, true
    elseif is_shut then
      told[k], shut_us = SHUT, now_us
    else
      local slot, hold, number, until_us
      if request == '' and pot[PLAIN] then
        slot = decide_plainly(pot, user, at_us_packed)
      elseif request == '' and not is_special(pot) then
        slot = decide_one(pot, user, at_us_packed)
      else
        pot = pot[PLAIN] and whole_pot(key, pot) or pot
        pots[key] = pot
        slot, hold, number, until_us = decide_specially(pot, user, request, at_us, at_us_packed)
      end
      if slot < 0 then
        told[k] = slot
      else
        slot = integer(slot)
        add_single(singles, id, user, slot, request, number or 0, until_us)
        if hold then
          told[k], answers[#answers + 1] = 'true', hold
        else
          told[k] = slot
        end
      end
    end
  end
  local log = log_of(keys, state[1], state[2])
  answers[1] = text_of_numbers(told)
  local are_all_new = singles.count == #users and #answers == 1 and names
  append_singles(log, singles, at_us,
    are_all_new and {pots = claims.pots_text, users = claims.users_text, slots = answers[1]})
  for key, pot in pairs(pots) do
    if pot[PLAIN] then
      store_plain(key, pot)
    elseif pot.filled > 0 then
      store_pot(pot)
    end
  end
  local ending = log_end(log.chain, integer(state[3] + singles.count))
  if singles.count > 0 then
    redis.call('HSET', keys[1], 'seq', integer(log.seq), 'chain', ending)
  elseif found and replicas ~= '0' then
    touch_write(keys[1])
  end
  return {log.seq, ending, shut_us, answers}
end

-- A batch of claims on any pots. KEYS: meta, log; those of the pots are named after them. ARGV: epoch, replicas, at_us,
-- at_us in 7 bytes, and as JSON, of each claim, its user, its pot, and its request ('' for all if none has a name); and
-- by pot from which and until which instant new grants are given, in µs ('': always). Returns seq, `chain`, the server's
-- time if somebody was told that it is shut, else false, and a list: first as JSON of each claim its new slot, a number
-- below 0, null for a grant that it has, or true for a new hold; behind it the values of these grants and holds, in order.
-- NOPOT says for which claim, from 0.
local function claim_any(keys, args)
  local seq, chain, granted = state_under(keys[1], args[1])
  if not seq then
    return chain
  end
  return claim_each(keys, args, {seq, chain, granted}, {users = cjson.decode(args[5]), users_text = args[5],
    pots = cjson.decode(args[6]), pots_text = args[6], requests = args[7] ~= '' and cjson.decode(args[7]),
    bounds = args[8] ~= '' and cjson.decode(args[8])})
end

-- KEYS: meta, log, pot; its other keys are named after it. ARGV: epoch, replicas, at_us, at_us in 7 bytes, the users as
-- JSON, the fingerprint of that text, and, if new grants are given only within them, the instants from which and until
-- which, in µs.
-- Returns seq, `chain`, {first, count, …} of the new grants, {index from 0, value, …} of the known ones, and the server's
-- time if that is why nothing was given, else false. Whoever is in no list found the pot empty, or shut. Of a pot that is
-- special it returns what `claim_any` does.
local function claim(keys, args)
  local meta = keys[1]
  local epoch, replicas, at_us, at_us_packed, names, names_digest, from_us, until_us = unpack(args)
  local seq, chain, granted = state_under(meta, epoch)
  if not seq then
    return chain
  end
  local users = cjson.decode(names)
  local pot, held = pot_with(keys[3], users)
  if not pot then
    return refuse('NOPOT', '0')
  elseif is_special(pot) then
    return claim_each(keys, args, {seq, chain, granted}, {users = users, pot = pot.name,
      bounds = from_us and {[pot.name] = {tonumber(from_us), tonumber(until_us)}}})
  end
  local now_us = from_us and server_us()
  local shut_us = now_us and (now_us < tonumber(from_us) or now_us >= tonumber(until_us)) and now_us
  decide(pot, users, held, at_us_packed, shut_us)
  local log, told, new = log_of(keys, seq, chain), {}, 0
  for _, run in ipairs(pot.runs) do
    if run.count == #users then
      append_run(log, pot.name, run, at_us, names, names_digest)
    else
      local text = text_of(run.users)
      append_run(log, pot.name, run, at_us, text, fingerprint(text))
    end
    new = new + run.count
    told[#told + 1] = run.first
    told[#told + 1] = run.count
  end
  local ending = log_end(log.chain, integer(granted + new))
  if new > 0 then
    store_pot(pot)
    redis.call('HSET', meta, 'seq', integer(log.seq), 'chain', ending)
  elseif #pot.known > 0 and replicas ~= '0' then
    touch_write(meta)
  end
  return {log.seq, ending, told, pot.known, shut_us or false}
end
