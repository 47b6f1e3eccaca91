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

-- By this server's clock, µs since the epoch, if it is not within these instants; else nil. Gates may have wrong clocks;
-- this one is the same for all gates of the set.
local function outside(from_us, until_us)
  local time = redis.call('TIME')
  local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  if now_us < tonumber(from_us) or now_us >= tonumber(until_us) then
    return now_us
  end
  return nil
end

-- The log of a call: what it has appended so far, and the fingerprint there.
local function log_of(keys, seq, chain)
  return {log = keys[2], seq = seq, chain = chain}
end

-- Appends a record about many pots. `columns` are lists of text: pots, users, slots, and, where they are wanted, requests,
-- numbers and deadlines.
local function append_many(log, kind, at_us, columns)
  local slots = {text_of(columns[1]), '[' .. table.concat(columns[3], ',') .. ']'}
  if columns[4] then
    slots[3] = text_of(columns[4])
    slots[4] = '[' .. table.concat(columns[5], ',') .. ']'
    slots[5] = '[' .. table.concat(columns[6], ',') .. ']'
  end
  local users, text, count = text_of(columns[2]), '[' .. table.concat(slots, ',') .. ']', integer(#columns[1])
  log.seq = log.seq + 1
  redis.call('XADD', log.log, integer(log.seq) .. '-0', 'kind', kind, 'pot', '', 'count', count, 'at_us', at_us,
    'users', users, 'slots', text, 'before', log.chain)
  log.chain = fingerprint(table.concat({log.chain, kind, '', count, at_us, users, text}, ' '))
end

-- The columns of single grants, of which some have a name, a number or a deadline, or none has.
local function columns_of(singles)
  local columns = {{}, {}, {}, {}, {}, {}}
  local more = false
  for k, single in ipairs(singles) do
    columns[1][k], columns[2][k], columns[3][k] = single[1], single[2], integer(single[3])
    columns[4][k], columns[5][k] = single[4], integer(single[5])
    columns[6][k] = single[6] and single[6] > 0 and integer(single[6]) or 'null'
    more = more or single[4] ~= '' or single[5] > 0
  end
  if not more then
    columns[4] = nil
  end
  return columns
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

-- The pot of a claim that is among many, and the value of its grant there; nil if it was never opened.
local function pot_of_one(pots, key, name)
  local pot = pots[key]
  if pot then
    for k = 1, pot.filled, 2 do
      if pot.fields[k] == name then
        return pot, pot.fields[k + 1]
      end
    end
    return pot, redis.call('HGET', pot.grants, name)
  end
  local held = redis.call('HMGET', key, STATE, name)
  if held[1] then
    pot = small_pot(key, held[1])
  else
    pot = big_pot(key)
    held[2] = pot and redis.call('HGET', pot.grants, name)
  end
  pots[key] = pot
  return pot, held[2]
end

local function single_of(pot, user, request, slot, number, until_us)
  return {pot.name, user, slot, request, number, until_us}
end

-- Decides on one claim of many on a pot that is not special; returns what it is told, and the new grant.
local function decide_one(pot, user, at_us_packed)
  if pot.slot == pot.stop and not next_run(pot) then
    return EMPTY
  end
  local slot = pot.slot
  pot.slot, pot.left = slot + 1, pot.left - 1
  keep(pot, user, '', slot, at_us_packed, 0, 0)
  return slot, single_of(pot, user, '', slot, 0)
end

local function decide_one_specially(pot, user, request, at_us, at_us_packed)
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
  return pot.hold and {value} or slot, single_of(pot, user, request, slot, number, until_us)
end

-- Single grants of few: each is a record as a run of one.
local function append_singles(log, singles, at_us)
  if #singles >= SCATTERED_MIN or (singles[1] and (singles[1][5] > 0 or singles[1][4] ~= '')) then
    return append_many(log, 'scattered', at_us, columns_of(singles))
  end
  for _, single in ipairs(singles) do
    if single[5] > 0 or single[4] ~= '' then
      return append_many(log, 'scattered', at_us, columns_of(singles))
    end
  end
  for _, single in ipairs(singles) do
    local text = text_of({single[2]})
    append_run(log, single[1], {first = single[3], count = 1}, at_us, text, fingerprint(text))
  end
end

-- Decides on claims one by one. `state` is what `state_under` returns; `claims` are users, requests (nil: none has a
-- name), places of their pots among KEYS from 0 (nil: all are on the first), and which argument is the first bound.
local function claim_each(keys, args, state, claims)
  local replicas, at_us, at_us_packed = args[2], args[3], args[4]
  local users, requests, places, bounds = claims.users, claims.requests, claims.places, claims.bounds
  local pots, answers, singles, found, shut_us = {}, {}, {}, false, false
  for k = 1, #users do
    local user, request, place = users[k], requests and requests[k] or '', places and places[k] or 0
    local pot, value = pot_of_one(pots, keys[place + 3], field_of(user, request))
    if not pot then
      return refuse('NOPOT', integer(place))
    end
    local from_us = args[bounds + 2 * place]
    local shut = not value and from_us and from_us ~= 'ever' and outside(from_us, args[bounds + 2 * place + 1])
    local single
    if value then
      answers[k], found = value, true
    elseif shut then
      answers[k], shut_us = SHUT, shut
    elseif request ~= '' or is_special(pot) then
      answers[k], single = decide_one_specially(pot, user, request, at_us, at_us_packed)
    else
      answers[k], single = decide_one(pot, user, at_us_packed)
    end
    singles[#singles + 1] = single
  end
  local log = log_of(keys, state[1], state[2])
  append_singles(log, singles, at_us)
  for _, pot in pairs(pots) do
    if pot.filled > 0 then
      store_pot(pot)
    end
  end
  local ending = log_end(log.chain, integer(state[3] + #singles))
  if #singles > 0 then
    redis.call('HSET', keys[1], 'seq', integer(log.seq), 'chain', ending)
  elseif found and replicas ~= '0' then
    touch_write(keys[1])
  end
  return {log.seq, ending, shut_us, answers}
end

-- A batch of claims on any pots. KEYS: meta, log, and each pot. ARGV: epoch, replicas, at_us, at_us in 7 bytes, and as
-- JSON, of each claim, its user, its request ('' for all if none has a name), and the place of its pot among KEYS (from
-- 0); and of each pot from which and until which instant new grants are given, in µs, or 'ever' (no more arguments: of
-- all). Returns seq, `chain`, the server's time if somebody was told that it is shut, else false, and of each claim: its
-- new slot; in a list its new grant's value, where it is a hold; a known grant's value; or a number below 0.
local function claim_any(keys, args)
  local seq, chain, granted = state_under(keys[1], args[1])
  if not seq then
    return chain
  end
  return claim_each(keys, args, {seq, chain, granted}, {users = cjson.decode(args[5]),
    requests = args[6] ~= '' and cjson.decode(args[6]), places = cjson.decode(args[7]), bounds = 8})
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
    return claim_each(keys, args, {seq, chain, granted}, {users = users, bounds = 7})
  end
  local shut_us = from_us and outside(from_us, until_us)
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
