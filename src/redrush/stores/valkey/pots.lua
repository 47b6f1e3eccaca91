-- Part of the library (library.lua): one pot, read, changed and written.

-- What every pot is here, in memory while a call looks at it and changes it:
--   key, prefix, name    of its hash; the names of its other keys are made of the last two
--   grants               key of the hash that its grants are in
--   opened               {first, count}, limit, hold (nil: none)
--   first, slot, stop    the head run: first..slot-1 are granted, slot..stop-1 come next
--   left, claimed, returned, held
--   waits                of a big pot: how many slots are in its list of those that wait
--   asked                whether it may have grants to named requests
--   queue, waiting       of a small pot: runs after the head, flat, and slots; of a big one they are lists of their own
--   members              of a small pot and of one of holds: the runs that it has, flat, nil where they are as opened
--   fields               names and values that `store_pot` writes into `grants`
-- `store_pot` writes what was changed.

local function pot_of(key)
  local prefix, name = string.match(key, '^(.-:)pot:(.*)$')
  return {key = key, prefix = prefix, name = name, fields = {}, filled = 0, fetched = 0, finished = {}}
end

local function prefix_of(meta)
  return string.sub(meta, 1, -5)
end

local function list_of(pot, kind)
  return pot.prefix .. kind .. ':' .. pot.name
end

local PLAIN = 3  -- so many values has the state of a small pot of which nothing but claims has happened

-- A small pot from its state.
local function small_pot(key, held)
  local pot = pot_of(key)
  pot.small, pot.grants = true, key
  pot.opened = {held[1], held[2]}
  if #held == PLAIN then
    pot.first, pot.slot, pot.stop = held[1], held[1] + held[3], held[1] + held[2]
    pot.left, pot.claimed, pot.returned, pot.held = held[2] - held[3], held[3], 0, 0
    pot.limit, pot.queue, pot.waiting = 1, {}, {}
    return pot
  end
  pot.claimed, pot.limit, pot.hold, pot.slot, pot.stop = held[3], held[4], held[5] or nil, held[6], held[7]
  pot.left, pot.returned, pot.held, pot.asked = held[8], held[9], held[10], held[11]
  pot.first, pot.queue, pot.waiting, pot.members = pot.slot, held[12], held[13], held[14] or nil
  return pot
end

local function state_of(pot)
  local first, count = pot.opened[1], pot.opened[2]
  local is_untouched = pot.slot == first + pot.claimed and pot.stop == first + count and #pot.queue == 0
  if is_untouched and pot.limit == 1 and not pot.hold and not pot.asked and not pot.members then
    return cmsgpack.pack({first, count, pot.claimed})
  end
  return cmsgpack.pack({first, count, pot.claimed, pot.limit, pot.hold or false, pot.slot, pot.stop, pot.left,
    pot.returned, pot.held, pot.asked or false, pot.queue, pot.waiting, pot.members or false})
end

-- A big pot, or nil. (That is also how releases before this one kept every pot.)
local function big_pot(key)
  local held = redis.call('HMGET', key, 'opened', 'first', 'next', 'stop', 'left', 'claimed', 'limit', 'hold', 'returned',
    'held', 'asked', 'members', 'waits')
  if not held[1] then
    return nil
  end
  local pot = pot_of(key)
  pot.grants = list_of(pot, 'grants')
  pot.opened = {parse_run(held[1])}
  pot.first, pot.slot, pot.stop = tonumber(held[2]), tonumber(held[3]), tonumber(held[4])
  pot.left, pot.claimed = tonumber(held[5]), tonumber(held[6])
  pot.limit, pot.hold, pot.asked = tonumber(held[7] or 1), tonumber(held[8] or nil), held[11]
  pot.returned, pot.held = tonumber(held[9] or 0), tonumber(held[10] or 0)
  pot.members = held[12] and cmsgpack.unpack(held[12])
  pot.waits = tonumber(held[13] or 0)
  return pot
end

-- The pot, and the values of these fields of its grants; nil if it was never opened. What it is most likely is tried
-- first: of a small pot state and grants are one look.
local function pot_with(key, names)
  if #names > LIKELY_SMALL_MAX then
    local pot = big_pot(key)
    if pot then
      return pot
    end
  end
  local held = redis.call('HMGET', key, STATE, unpack(names, 1, math.min(#names, ARGUMENTS_MAX)))
  if held[1] then
    local pot = small_pot(key, cmsgpack.unpack(held[1]))
    table.remove(held, 1)
    return pot, #names <= ARGUMENTS_MAX and held or nil
  end
  return big_pot(key)
end

local function is_special(pot)
  return pot.hold or pot.asked or pot.limit ~= 1
end

-- Lets the queue begin with its next run, when the head is used up; false if there is none.
local function next_run(pot)
  local from, to
  if pot.small then
    from, to = pot.queue[2 * pot.fetched + 1], pot.queue[2 * pot.fetched + 2]
  else
    local following = redis.call('LINDEX', list_of(pot, 'unclaimed'), pot.fetched)
    if following then
      from, to = parse_run(following)
    end
  end
  if not from then
    return false
  end
  if pot.first < pot.slot then
    pot.finished[#pot.finished + 1] = integer(pot.first) .. ' ' .. integer(pot.slot)
  end
  pot.fetched = pot.fetched + 1
  pot.first, pot.slot, pot.stop = from, from, to
  return true
end

local function rest_of(flat, gone)
  local rest = {}
  for k = gone + 1, #flat do
    rest[#rest + 1] = flat[k]
  end
  return rest
end

-- Writes what was changed. The lists of a big pot but for the runs that became its head are written where they change.
local function store_pot(pot)
  local fields = pot.fields
  if pot.small then
    if pot.fetched > 0 then
      pot.queue, pot.fetched = rest_of(pot.queue, 2 * pot.fetched), 0
    end
    fields[pot.filled + 1], fields[pot.filled + 2] = STATE, state_of(pot)
  end
  for start = 1, #fields, ARGUMENTS_MAX do
    redis.call('HSET', pot.grants, unpack(fields, start, math.min(start + ARGUMENTS_MAX - 1, #fields)))
  end
  pot.fields, pot.filled = {}, 0
  if pot.small then
    return
  end
  local slot, left, claimed = integer(pot.slot), integer(pot.left), integer(pot.claimed)
  if pot.fetched > 0 then
    redis.call('LPOP', list_of(pot, 'unclaimed'), pot.fetched)
    if not pot.members then
      for _, run in ipairs(pot.finished) do
        redis.call('RPUSH', list_of(pot, 'granted'), run)
      end
    end
    pot.fetched, pot.finished, pot.is_anew = 0, {}, true
  end
  if pot.is_anew then  -- else the head is the same run as before, and its ends need not be written
    redis.call('HSET', pot.key, 'first', integer(pot.first), 'next', slot, 'stop', integer(pot.stop),
      'left', left, 'claimed', claimed)
  else
    redis.call('HSET', pot.key, 'next', slot, 'left', left, 'claimed', claimed)
  end
  if is_special(pot) then
    redis.call('HSET', pot.key, 'returned', integer(pot.returned), 'held', integer(pot.held))
    if pot.hold then
      redis.call('HSET', pot.key, 'waits', integer(pot.waits))
    end
    if pot.asked then
      redis.call('HSET', pot.key, 'asked', '1')
    end
    if pot.members then
      redis.call('HSET', pot.key, 'members', cmsgpack.pack(pot.members))
    end
  end
end

-- Writes what was changed of a plain pot (`pot_of_one`).
local function store_plain(key, pot)
  if #pot > PLAIN then
    redis.call('HSET', key, STATE, '\147' .. cmsgpack.pack(pot[1], pot[2], pot[PLAIN]), unpack(pot, PLAIN + 1))
  end
end

-- The same pot with all that a small one has.
local function whole_pot(key, plain)
  local pot = small_pot(key, {plain[1], plain[2], plain[PLAIN]})
  pot.fields, pot.filled = {unpack(plain, PLAIN + 1)}, #plain - PLAIN
  return pot
end

-- Writes a pot that was not there before. `hold` and `note` are '' where it has none.
local function write_opening(pot, name, first, count, limit, hold, note)
  if note ~= '' then
    redis.call('HSET', pot_of(pot).prefix .. 'notes', name, note)
  end
  first, count, limit, hold = tonumber(first), tonumber(count), tonumber(limit), tonumber(hold)
  if 0 < count and count <= SMALL_SLOTS_MAX then
    redis.call('HSET', pot, STATE, state_of({opened = {first, count}, claimed = 0, limit = limit, hold = hold,
      slot = first, stop = first + count, left = count, returned = 0, held = 0, queue = {}, waiting = {}}))
    return
  end
  redis.call('HSET', pot, 'opened', integer(first) .. ' ' .. integer(count), 'first', integer(first),
    'next', integer(first), 'stop', integer(first + count), 'left', integer(count), 'claimed', '0')
  if limit ~= 1 then
    redis.call('HSET', pot, 'limit', integer(limit))
  end
  if hold then
    redis.call('HSET', pot, 'hold', integer(hold),
      'members', cmsgpack.pack(count > 0 and {first, first + count} or {}))
  end
end

-- KEYS: meta, log, and each pot. ARGV: epoch, replicas, and for each pot its id, first, count, limit, hold ('' for none) and
-- the last two as the log has them ('' where they are the usual ones), and its note ('': none). Opens those that are not open yet, or none:
-- CONFLICT says at which of them, from 0, what it was opened with. Returns the seq of the set.
local function open(keys, args)
  local meta, log = keys[1], keys[2]
  local seq, chain, granted = state_under(meta, args[1])
  if not seq then
    return chain
  end
  local before, new, opened = seq, {}, {}
  for number = 3, #keys do
    local key, at = keys[number], 7 * number - 18
    local terms = table.concat({args[at + 1], args[at + 2], args[at + 3], args[at + 4]}, ' ')
    local held = opened[key]
    if not held then
      local pot = pot_with(key, {})
      held = pot and table.concat({integer(pot.opened[1]), integer(pot.opened[2]), integer(pot.limit),
        pot.hold and integer(pot.hold) or ''}, ' ')
    end
    if not held then
      new[#new + 1] = number
    elseif held ~= terms then
      return refuse('CONFLICT', integer(number - 3) .. ' ' .. held)
    end
    opened[key] = terms
  end
  for _, number in ipairs(new) do
    local name, first, count, limit, hold, said, note = unpack(args, 7 * number - 18, 7 * number - 12)
    local fields, linked = {'kind', 'opened', 'pot', name, 'first_slot', first, 'count', count},
      {chain, 'opened', name, first, count}
    for _, column in ipairs({{'slots', said}, {'transfer', note}}) do
      if column[2] ~= '' then
        fields[#fields + 1], fields[#fields + 2] = column[1], column[2]
        linked[#linked + 1] = column[2]
      end
    end
    fields[#fields + 1], fields[#fields + 2] = 'before', chain
    seq = seq + 1
    redis.call('XADD', log, integer(seq) .. '-0', unpack(fields))
    chain = fingerprint(table.concat(linked, ' '))
    write_opening(keys[number], name, first, count, limit, hold, note)
  end
  if seq == before then
    return touch(keys, args)[1]
  end
  redis.call('HSET', meta, 'seq', integer(seq), 'chain', log_end(chain, granted))
  return seq
end

-- KEYS: meta. ARGV: epoch, replicas, and the pots as JSON. Returns the seq of the set, and as MessagePack a list of what
-- they are (of a small pot its state; of a big one left, claimed, returned, held and how many wait; nil: never opened),
-- and one of their notes.
local function noted(keys, args)
  local touched = touch(keys, args)
  if touched.err then
    return touched
  end
  local prefix, names, states = prefix_of(keys[1]), cjson.decode(args[3]), {}
  local notes = redis.call('HMGET', prefix .. 'notes', unpack(names))
  for k, name in ipairs(names) do
    local key = prefix .. 'pot:' .. name
    local state = redis.call('HGET', key, STATE)
    if not state then
      local pot = big_pot(key)
      state = cmsgpack.pack(pot and {pot.left, pot.claimed, pot.returned, pot.held, pot.waits})
    end
    states[k], notes[k] = state, notes[k] or ''
  end
  return {touched[1], '\221' .. struct.pack('>I4', #names) .. table.concat(states), cmsgpack.pack(notes)}
end
