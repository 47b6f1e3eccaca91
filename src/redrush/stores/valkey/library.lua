#!lua name=redrush_@{digest}
-- The claim rules inside Valkey: every change of a set is one call, atomic in memory, in the append-only file (its effects
-- are one MULTI/EXEC there) and on replicas.
--
-- Keys of a set share one hash tag, {campaign/set}:
--   meta             hash: epoch, replicas (the terms), primary (whose terms they are, if it was named), seq (of the
--                    last log record), chain ("<fingerprint of the log up to there> <how many grants are in it>"),
--                    proven (the run id of the server process in which the log was compared with what others know
--                    of it), touched, detached (detach.lua), forks ("<epoch> <seq> …": under this epoch the set went on
--                    with other records after this one, or with none, than it had before), losses and honoured
--                    (proof.py)
--   log              stream, ids <seq>-0: what changed, in order; `before` is the fingerprint of all that comes before it
--   taken, given     hashes: transfer id -> "<runs as JSON> <pot>"
--   pot:<pot>        a big pot, hash: opened "<first> <count>"; first, next, stop of the head run, of which first..next-1
--                    are granted and next..stop-1 come next; left and claimed in the whole pot; and only where it is
--                    not as most are: limit, hold (µs), returned, held, asked, members (`pot_of`)
--   unclaimed:<pot>  list of the runs after the head, "<first> <stop>" each
--   granted:<pot>    list of the runs that the head was before and that were granted; not of a pot of holds
--   waiting:<pot>    list of the slots that were released and not offered again
--   grants:<pot>     hash: user -> 14 bytes, slot and at_us, 7 bytes each, big-endian; of a pot of holds 28: number and
--                    deadline too; a request that has a name is <user><255><request>, and <254><user> counts those
--   pot:<pot>        a small pot, hash: grants as above, and in <255> all else, packed (`state_of`)
--
-- A user who holds no grant is nowhere in it. A claim costs a part of one HMGET and, if it wins, of one HSET; the log is
-- only appended to. All that reads comes before all that writes, so that a refusal leaves no trace.
--
-- A server process that was just started may hold an older log than it once acknowledged, whatever it believes. So it
-- changes nothing until somebody has compared the log (`prove`), in this very process.
--
-- Numbers are doubles here: slots and instants end at 2^53, which the adapter checks. Refusals are error replies whose
-- first word is a code: TERMS, NOSET, UNPROVEN, NOPOT, CONFLICT, ALREADY, FENCED, CHANGED.

local CHAIN_DIGITS = 16
local ARGUMENTS_MAX = 7000  -- unpack puts its values on the C stack, which ends at 8,000

local SMALL_SLOTS_MAX = 128  -- a pot that is opened with 1 to so many slots is a small one: all of it is one hash
local LIKELY_SMALL_MAX = 16  -- so few claims on a pot come as a rule to a small one
local SCATTERED_MIN = 8  -- short runs of one call that become one record instead of one each
local RUN_USERS_MIN = 4  -- a run of fewer users is a short one

-- No text in UTF-8 has these bytes, so no user's field is one of these.
local STATE, BETWEEN = '\255', '\255'  -- the state of a small pot; between user and request
local COUNT = '\254'  -- before a user: how many grants to named requests they have

local function refuse(code, detail)
  return redis.error_reply(code .. ' ' .. detail)
end

local function integer(number)
  return string.format('%d', number)  -- tostring would write 1e+15
end

local run_id  -- of this server process, which is asked for it once

local function this_process()
  if not run_id then
    run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  end
  return run_id
end

-- The seq of the last record, the fingerprint, and how many grants there are, as text; or nil and the refusal of whoever
-- comes with other terms than those of the set, or to a log that was not compared.
local function state_under(meta, epoch)
  local held = redis.call('HMGET', meta, 'epoch', 'seq', 'proven', 'chain')
  if not held[1] then
    return nil, refuse('NOSET', 'no set was founded here')
  end
  if held[1] ~= epoch then
    return nil, refuse('TERMS', held[1])
  end
  if held[3] ~= (run_id or this_process()) then
    return nil, refuse('UNPROVEN', 'its log was not compared since the server was started')
  end
  local chain = held[4]
  if not chain then
    return tonumber(held[2]), '', '0'
  end
  return tonumber(held[2]), string.sub(chain, 1, CHAIN_DIGITS), string.sub(chain, CHAIN_DIGITS + 2)
end

-- Continues the fingerprint by a record: the first 16 hexadecimal digits of the SHA-1 of all that is in it, behind the one
-- before; users stand in it by their own fingerprint, which whoever sends them has made. (One concatenation, no table, and
-- no second look at the users: this is on the way of every batch.)
local function fingerprint(text)
  return string.sub(redis.sha1hex(text), 1, CHAIN_DIGITS)
end

-- Notes the log's end in one field, which costs less than two.
local function log_end(chain, granted)
  return chain .. ' ' .. granted
end

local function append_move(meta, log, seq, chain, granted, kind, pot, runs, transfer)
  redis.call('XADD', log, integer(seq) .. '-0', 'kind', kind, 'pot', pot, 'slots', runs, 'transfer', transfer,
    'before', chain)
  redis.call('HSET', meta, 'seq', integer(seq),
    'chain', log_end(fingerprint(table.concat({chain, kind, pot, runs, transfer}, ' ')), granted))
end

local function parse_run(text)
  local first, stop = string.match(text, '^(%d+) (%d+)$')
  return tonumber(first), tonumber(stop)
end

-- Users as JSON, in the same text as whoever sends them writes it: cjson escapes what need not be.
local function text_of(users)
  return (string.gsub(cjson.encode(users), '\\([/\\u]%x?%x?%x?%x?)', function(escaped)
    if string.sub(escaped, 1, 1) == '/' then
      return escaped
    elseif escaped == 'u007f' then
      return '\127'
    end
  end))
end

local function touch_write(meta)
  redis.call('HINCRBY', meta, 'touched', 1)
end

-- Writes something tiny if a replica is needed: WAIT on this connection then covers all that was read before the call,
-- whoever wrote it. ARGV: epoch, replicas. Returns seq and fingerprint.
local function touch(keys, args)
  local seq, chain = state_under(keys[1], args[1])
  if not seq then
    return chain
  end
  if args[2] ~= '0' then
    touch_write(keys[1])
  end
  return {seq, chain}
end

-- Founds the set. ARGV: replicas. Founding again changes nothing. Returns epoch and replicas.
local function found(keys, args)
  if redis.call('EXISTS', keys[1]) == 0 then
    redis.call('HSET', keys[1], 'epoch', '1', 'replicas', args[1], 'seq', '0', 'proven', this_process())
  end
  return redis.call('HMGET', keys[1], 'epoch', 'replicas')
end

-- Puts the set under new terms. ARGV: epoch, which must be greater than the present one, replicas, and, if it is to be
-- named, the address of the primary: a copy that another server was restarted with is nobody's primary then; and, if
-- records may be lost, the seq of the last one that is surely as it was, that of the last one that somebody knew, and how
-- many grants were lost with those between.
local function fence(keys, args)
  local held = redis.call('HGET', keys[1], 'epoch')
  if not held then
    return refuse('NOSET', 'no set was founded here')
  end
  if tonumber(args[1]) <= tonumber(held) then
    return refuse('FENCED', held)
  end
  redis.call('HSET', keys[1], 'epoch', args[1], 'replicas', args[2])
  if args[3] then
    redis.call('HSET', keys[1], 'primary', args[3])
  end
  if args[4] then
    local forks = redis.call('HGET', keys[1], 'forks')
    redis.call('HSET', keys[1], 'forks', (forks and forks .. ' ' or '') .. args[1] .. ' ' .. args[4])
    if args[6] ~= '0' then
      local losses = redis.call('HGET', keys[1], 'losses')
      redis.call('HSET', keys[1], 'losses',
        (losses and losses .. ' ' or '') .. table.concat({args[1], args[4], args[5], args[6]}, ' '))
    end
  end
  return redis.status_reply('OK')
end

-- Lets the set be used in this server process. ARGV: epoch, and seq and fingerprint of the last record, as they were
-- compared with what others know.
local function prove(keys, args)
  local held = redis.call('HMGET', keys[1], 'epoch', 'seq', 'chain')
  if held[1] ~= args[1] or held[2] ~= args[2] or string.sub(held[3] or '', 1, CHAIN_DIGITS) ~= args[3] then
    return refuse('CHANGED', 'it is not as it was compared')
  end
  redis.call('HSET', keys[1], 'proven', this_process())
  return redis.status_reply('OK')
end

-- Lets the set be used no more, for somebody knows of records that it lacks.
local function doubt(keys)
  redis.call('HSET', keys[1], 'proven', '')
  return redis.status_reply('OK')
end

-- What every pot is here, in memory while a call looks at it and changes it:
--   key, prefix, name    of its hash; the names of its other keys are made of the last two
--   grants               key of the hash that its grants are in
--   opened               {first, count}, limit, hold (nil: none)
--   first, slot, stop    the head run: first..slot-1 are granted, slot..stop-1 come next
--   left, claimed, returned, held
--   asked                whether it may have grants to named requests
--   queue, waiting       of a small pot: runs after the head, flat, and slots; of a big one they are lists of their own
--   members              of a small pot and of one of holds: the runs that it has, flat, nil where they are as opened
--   fields               names and values that `store_pot` writes into `grants`
-- `store_pot` writes what was changed.

local function pot_of(key)
  local prefix, name = string.match(key, '^(.-:)pot:(.*)$')
  return {key = key, prefix = prefix, name = name, fields = {}, filled = 0, fetched = 0, finished = {}}
end

local function list_of(pot, kind)
  return pot.prefix .. kind .. ':' .. pot.name
end

-- A small pot from its state, which is short where nothing but claims has happened.
local function small_pot(key, state)
  local pot, held = pot_of(key), cmsgpack.unpack(state)
  pot.small, pot.grants = true, key
  pot.opened = {held[1], held[2]}
  if #held == 3 then
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
    'held', 'asked', 'members')
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
    local pot = small_pot(key, held[1])
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
    if pot.asked then
      redis.call('HSET', pot.key, 'asked', '1')
    end
    if pot.members then
      redis.call('HSET', pot.key, 'members', cmsgpack.pack(pot.members))
    end
  end
end

-- Writes a pot that was not there before. `hold` is '' where it has none.
local function write_opening(pot, name, first, count, limit, hold)
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
-- the last two as the log has them ('' where they are the usual ones). Opens those that are not open yet, or none:
-- CONFLICT says at which of them, from 0, what it was opened with. Returns the seq of the set.
local function open(keys, args)
  local meta, log = keys[1], keys[2]
  local seq, chain, granted = state_under(meta, args[1])
  if not seq then
    return chain
  end
  local before, new, opened = seq, {}, {}
  for number = 3, #keys do
    local key, at = keys[number], 6 * number - 15
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
    local name, first, count, limit, hold, said = unpack(args, 6 * number - 15, 6 * number - 10)
    seq = seq + 1
    if said == '' then
      redis.call('XADD', log, integer(seq) .. '-0', 'kind', 'opened', 'pot', name, 'first_slot', first, 'count', count,
        'before', chain)
      chain = fingerprint(table.concat({chain, 'opened', name, first, count}, ' '))
    else
      redis.call('XADD', log, integer(seq) .. '-0', 'kind', 'opened', 'pot', name, 'first_slot', first, 'count', count,
        'slots', said, 'before', chain)
      chain = fingerprint(table.concat({chain, 'opened', name, first, count, said}, ' '))
    end
    write_opening(keys[number], name, first, count, limit, hold)
  end
  if seq == before then
    return touch(keys, args)[1]
  end
  redis.call('HSET', meta, 'seq', integer(seq), 'chain', log_end(chain, granted))
  return seq
end

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

-- The same as `decide` for any pot and for named requests. Leaves besides limits: {index from 0, …} of those who have as
-- many as they may; singles: {{user, slot, request, number, until}, …} of the new grants, and counts of named ones.
local function decide_specially(pot, users, requests, at_us, at_us_packed, shut)
  pot.known, pot.runs, pot.limits, pot.singles, pot.counts = {}, {}, {}, {}, {}
  local new, plain, number, until_us = {}, {}, 0, 0
  for k = 1, #users do
    local user, request = users[k], requests and requests[k] or ''
    local name, counted = field_of(user, request), COUNT .. user
    local value = new[name]
    if not value then
      local held = redis.call('HMGET', pot.grants, name, user, counted)
      value = held[1]
      if not value then
        local count = pot.counts[counted] or tonumber(held[3] or 0)
        if count + ((held[2] or plain[user]) and 1 or 0) >= pot.limit then
          pot.limits[#pot.limits + 1] = k - 1
        elseif not shut and (pot.slot < pot.stop or next_run(pot)) then
          if pot.hold then
            number, until_us = pot.claimed + 1, tonumber(at_us) + pot.hold
          end
          new[name] = keep(pot, user, request, pot.slot, at_us_packed, number, until_us)
          pot.singles[#pot.singles + 1] = {user, pot.slot, request, number, until_us}
          if request == '' then
            plain[user] = true
          else
            pot.counts[counted], pot.asked = count + 1, true
          end
          pot.slot, pot.left = pot.slot + 1, pot.left - 1
        end
      end
    end
    if value then
      pot.known[#pot.known + 1] = k - 1
      pot.known[#pot.known + 1] = value
    end
  end
  for counted, count in pairs(pot.counts) do
    pot.fields[pot.filled + 1], pot.fields[pot.filled + 2] = counted, integer(count)
    pot.filled = pot.filled + 2
  end
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

-- Looks at one pot of a call, and decides. Writes nothing. nil: it was never opened.
local function look_into(key, users, requests, at_us, at_us_packed, from_us, until_us)
  local pot, held = pot_with(key, users)
  if not pot then
    return nil
  end
  if from_us ~= 'ever' then
    pot.shut_us = outside(from_us, until_us)
  end
  if requests or is_special(pot) then
    decide_specially(pot, users, requests, at_us, at_us_packed, pot.shut_us ~= nil)
  else
    decide(pot, users, held, at_us_packed, pot.shut_us ~= nil)
  end
  return pot
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

-- Whether the short runs of these pots are so many that they become one record, and which pots have some.
local function scattered_pots(pots)
  local short, count = {}, 0
  for number, pot in ipairs(pots) do
    for _, run in ipairs(pot.runs) do
      if run.count < RUN_USERS_MIN then
        short[number] = true
        count = count + 1
      end
    end
  end
  return count >= SCATTERED_MIN and short or {}
end

-- KEYS: meta, log, and each pot; its other keys are named after it. ARGV: epoch, replicas, at_us, at_us in 7 bytes, the
-- users as JSON, the fingerprint of that text, their requests as JSON ('' if none has a name), and, if new grants are
-- given only within them, the instants from which and until which, in µs, for each pot, or 'ever'. Users and requests are
-- one list, of several pots a list for each.
-- Returns seq, `chain`, and for each pot {first, count, …} of the new grants, {index from 0, value, …} of the known ones,
-- the server's time if that is why nothing was given, else false, {index from 0, …} of those who have as many as they
-- may, 1 if something of it is only held, and of a pot of holds the number of the first new grant and how long it holds,
-- else 0. Whoever is in no list found the pot empty, or shut.
local function claim(keys, args)
  local meta = keys[1]
  local epoch, replicas, at_us, at_us_packed, names, names_digest, names_of_requests = unpack(args, 1, 7)
  local seq, chain, granted_before = state_under(meta, epoch)
  if not seq then
    return chain
  end
  local users = names ~= '' and cjson.decode(names) or {}
  local requests = names_of_requests ~= '' and cjson.decode(names_of_requests)
  local is_one = #keys == 3
  local pots, found = {}, false
  for number = 1, #keys - 2 do
    local of_pot = is_one and requests or requests and requests[number]
    local pot = look_into(keys[number + 2], is_one and users or users[number], of_pot, at_us, at_us_packed,
      args[2 * number + 6], args[2 * number + 7])
    if not pot then
      return refuse('NOPOT', integer(number - 1))
    end
    pots[number] = pot
    found = found or #pot.known > 0
  end

  local log, granted, singles = log_of(keys, seq, chain), tonumber(granted_before), {}
  local scattered = is_one and {} or scattered_pots(pots)
  local answer = {seq, ''}
  for number, pot in ipairs(pots) do
    local told = {}
    for _, run in ipairs(pot.runs) do
      if scattered[number] then
        for k, user in ipairs(run.users) do
          singles[#singles + 1] = {pot.name, user, run.first + k - 1, '', 0}
        end
      elseif is_one and run.count == #users then
        append_run(log, pot.name, run, at_us, names, names_digest)
      else
        local text = text_of(run.users)
        append_run(log, pot.name, run, at_us, text, fingerprint(text))
      end
      granted = granted + run.count
      told[#told + 1] = run.first
      told[#told + 1] = run.count
    end
    local first_number, hold = 0, 0
    if pot.singles then
      for _, single in ipairs(pot.singles) do
        singles[#singles + 1] = {pot.name, unpack(single)}
        told[#told + 1] = single[2]
        told[#told + 1] = 1
      end
      granted = granted + #pot.singles
      if pot.hold then
        first_number, hold = pot.claimed - #pot.singles + 1, pot.hold
      end
    end
    if #told > 0 then
      store_pot(pot)
    end
    answer[number + 2] = {told, pot.known, pot.shut_us or false, pot.limits or {},
      (pot.held > 0 or pot.left > 0) and 1 or 0, first_number, hold}
  end
  if #singles > 0 then
    append_many(log, 'scattered', at_us, columns_of(singles))
  end
  answer[1], answer[2] = log.seq, log_end(log.chain, integer(granted))
  if log.seq > seq then
    redis.call('HSET', meta, 'seq', integer(log.seq), 'chain', answer[2])
  elseif found and replicas ~= '0' then
    touch_write(meta)
  end
  return answer
end

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

-- Ends these holds in their pots; returns what each is, and the columns of those that were changed.
local function end_holds(pots, kind, holds)
  local states, changed = {}, {}
  local places, users, slots, requests, numbers = unpack(holds)
  for k, place in ipairs(places) do
    local pot = pots[place + 1]
    local state, is_new = end_hold(pot, kind, users[k], requests[k], slots[k], numbers[k])
    states[k] = state
    if is_new then
      changed[#changed + 1] = {pot.name, users[k], slots[k], requests[k], numbers[k]}
    end
  end
  for _, pot in ipairs(pots) do
    if pot.hold and #changed > 0 then
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
  if #changed > 0 then
    append_many(log, kind, at_us, columns_of(changed))
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

-- The runs that a pot has, in whatever state each slot is.
local function members_of(pot)
  if pot.members then
    return pot.members
  elseif pot.opened[2] == 0 then
    return {}
  end
  return {pot.opened[1], pot.opened[1] + pot.opened[2]}
end

local function without(members, runs)
  for _, gone in ipairs(runs) do
    local kept = {}
    for k = 1, #members, 2 do
      local from, to = members[k], members[k + 1]
      if gone[2] <= from or to <= gone[1] then
        kept[#kept + 1], kept[#kept + 2] = from, to
      else
        if from < gone[1] then
          kept[#kept + 1], kept[#kept + 2] = from, gone[1]
        end
        if gone[2] < to then
          kept[#kept + 1], kept[#kept + 2] = gone[2], to
        end
      end
    end
    members = kept
  end
  return members
end

-- Whether the pot says itself which runs it has; else its lists do.
local function has_members(pot)
  return pot.small or pot.hold
end

-- Takes up to so many slots from the end of the queue, then of those that wait; returns them in the order of the queue.
local function take_from(pot, count)
  local missing, popped, kept, runs = count, 0, nil, {}
  while missing > 0 do
    local from, to, is_head = pot.slot, pot.stop, true
    if pot.small then
      local at = #pot.queue - 2 * popped
      if at > 0 then
        from, to, is_head = pot.queue[at - 1], pot.queue[at], false
      end
    else
      local tail = redis.call('LINDEX', list_of(pot, 'unclaimed'), -1 - popped)
      if tail then
        from, to = parse_run(tail)
        is_head = false
      end
    end
    local start = math.max(from, to - missing)
    if start < to then
      table.insert(runs, 1, {start, to})
    end
    missing = missing - (to - start)
    if is_head then
      pot.stop, pot.is_anew = start, true
      break
    end
    popped = popped + 1
    if start > from then
      kept = {from, start}
    end
  end
  if popped > 0 and pot.small then
    for _ = 1, 2 * popped do
      pot.queue[#pot.queue] = nil
    end
  elseif popped > 0 then
    redis.call('RPOP', list_of(pot, 'unclaimed'), popped)
  end
  if kept then
    push(pot, kept)
  end
  for _, run in ipairs(runs_of(pop_waiting(pot, missing))) do
    runs[#runs + 1] = run
  end
  local taken = 0
  for _, run in ipairs(runs) do
    taken = taken + run[2] - run[1]
  end
  pot.left = pot.left - taken
  if has_members(pot) and #runs > 0 then
    pot.members = without(members_of(pot), runs)
  end
  store_pot(pot)
  return runs
end

-- KEYS: meta, log, pot, taken. ARGV: epoch, replicas, pot, count, transfer. Returns seq and the runs as JSON.
local function take(keys, args)
  local meta, log, key, taken = unpack(keys)
  local epoch, replicas, name, count, transfer = unpack(args)
  local seq, chain, so_far = state_under(meta, epoch)
  if not seq then
    return chain
  end
  local pot = pot_with(key, {})
  if not pot then
    return refuse('NOPOT', name)
  end
  local done = redis.call('HGET', taken, transfer)
  if done then
    local runs, source = string.match(done, '^(%S+) (.*)$')
    if source ~= name then
      return refuse('CONFLICT', source)
    end
    if replicas ~= '0' then
      touch_write(meta)
    end
    return {seq, runs}
  end
  local text = text_of_runs(take_from(pot, tonumber(count)))
  append_move(meta, log, seq + 1, chain, so_far, 'taken', name, text, transfer)
  redis.call('HSET', taken, transfer, text .. ' ' .. name)
  return {seq + 1, text}
end

-- The runs that a pot has, or has granted, each {first, stop}.
local function held_runs(pot)
  local held = {}
  if has_members(pot) then
    local members = members_of(pot)
    for k = 1, #members, 2 do
      held[#held + 1] = {members[k], members[k + 1]}
    end
    return held
  end
  held = {{pot.first, pot.slot}, {pot.slot, pot.stop}}
  for _, list in ipairs({'granted', 'unclaimed'}) do
    for _, text in ipairs(redis.call('LRANGE', list_of(pot, list), 0, -1)) do
      held[#held + 1] = {parse_run(text)}
    end
  end
  return held
end

-- The first of these runs that meets one that the pot has, or one of the runs before it; nil if none does.
local function overlap(runs, held)
  for _, run in ipairs(runs) do
    for _, other in ipairs(held) do
      if other[1] < other[2] and run[1] < other[2] and other[1] < run[2] then
        return integer(run[1]) .. ' ' .. integer(run[2] - run[1])
      end
    end
    held[#held + 1] = run
  end
  return nil
end

local function runs_in(text)
  local runs = cjson.decode(text)
  for k, run in ipairs(runs) do
    runs[k] = {run[1], run[1] + run[2]}
  end
  return runs
end

-- Appends these runs, which the pot does not have, to its end.
local function give_to(pot, runs)
  local members = has_members(pot) and members_of(pot)
  for _, run in ipairs(runs) do
    if run[1] < run[2] then
      push(pot, run)
      pot.left = pot.left + run[2] - run[1]
      if members then
        members[#members + 1], members[#members + 2] = run[1], run[2]
      end
    end
  end
  pot.members = members or nil
  store_pot(pot)
end

-- KEYS: meta, log, pot, given. ARGV: epoch, replicas, pot, runs as JSON, transfer. Returns the seq.
local function give(keys, args)
  local meta, log, key, given = unpack(keys)
  local epoch, replicas, name, text, transfer = unpack(args)
  local seq, chain, so_far = state_under(meta, epoch)
  if not seq then
    return chain
  end
  local pot = pot_with(key, {})
  if not pot then
    return refuse('NOPOT', name)
  end
  local done = redis.call('HGET', given, transfer)
  if done then
    if done ~= text .. ' ' .. name then
      return refuse('CONFLICT', done)
    end
    return touch(keys, args)[1]
  end
  local runs = runs_in(text)
  local met = overlap(runs, held_runs(pot))
  if met then
    return refuse('ALREADY', met)
  end
  append_move(meta, log, seq + 1, chain, so_far, 'given', name, text, transfer)
  give_to(pot, runs)
  redis.call('HSET', given, transfer, text .. ' ' .. name)
  return seq + 1
end

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
  return #changed ~= #users and refuse('ABSENT', kind) or nil
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

-- Does what the record says to these pots; returns nil, or why that cannot be, and how many grants it made.
local function enter_into(pots, taken, given, record)
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
  local moves = kind == 'taken' and taken or given
  if redis.call('HEXISTS', moves, transfer) == 1 then
    return refuse('HELD', transfer), 0
  end
  local refusal = (kind == 'taken' and enter_taken or enter_given)(pot, runs_in(slots))
  if not refusal then
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
    write_opening(keys[5], record.pot, record.first, args[6], args[11], args[12])
  else
    local pots = pots_of(keys, 5)
    if not pots then
      return refuse('ABSENT', record.pot)
    end
    local refusal, count = enter_into(pots, keys[3], keys[4], record)
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
register('open', open)
register('take', take)
register('give', give)
register('finish', finish)
register('offer', offer)
register('enter', enter)
register('found', found)
-- A full memory must not keep the recorder from reading and trimming, nor a warden from its work.
register('touch', touch, {'allow-oom'})
register('trim', trim, {'allow-oom'})
register('fence', fence, {'allow-oom'})
register('prove', prove, {'allow-oom'})
register('doubt', doubt, {'allow-oom'})
