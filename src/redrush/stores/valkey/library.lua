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
--   pot:<pot>        hash: opened "<first> <count>"; first, next, stop of the head run, of which first..next-1 are granted
--                    and next..stop-1 come next; left and claimed in the whole pot
--   unclaimed:<pot>  list of the runs after the head, "<first> <stop>" each
--   granted:<pot>    list of the runs that the head was before and that were granted
--   grants:<pot>     hash: user -> 14 bytes, slot and at_us, 7 bytes each, big-endian
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

-- KEYS: meta, log, and each pot. ARGV: epoch, replicas, and for each pot its id, first and count. Opens those that are
-- not open yet, or none: CONFLICT says at which of them, from 0, what it was opened with. Returns the seq of the set.
local function open(keys, args)
  local meta, log = keys[1], keys[2]
  local seq, chain, granted = state_under(meta, args[1])
  if not seq then
    return chain
  end
  local before, new, opened = seq, {}, {}
  for number = 1, #keys - 2 do
    local first, count = args[3 * number + 1], args[3 * number + 2]
    local terms, pot = first .. ' ' .. count, keys[number + 2]
    local held = opened[pot] or redis.call('HGET', pot, 'opened')
    if not held then
      new[#new + 1] = number
      opened[pot] = terms
    elseif held ~= terms then
      return refuse('CONFLICT', integer(number - 1) .. ' ' .. held)
    end
  end
  for _, number in ipairs(new) do
    local name, first, count = unpack(args, 3 * number, 3 * number + 2)
    seq = seq + 1
    redis.call('XADD', log, integer(seq) .. '-0', 'kind', 'opened', 'pot', name, 'first_slot', first, 'count', count,
      'before', chain)
    chain = fingerprint(table.concat({chain, 'opened', name, first, count}, ' '))
    redis.call('HSET', keys[number + 2], 'opened', first .. ' ' .. count, 'first', first, 'next', first,
      'stop', integer(tonumber(first) + tonumber(count)), 'left', count, 'claimed', '0')
  end
  if seq == before then
    return touch(keys, args)[1]
  end
  redis.call('HSET', meta, 'seq', integer(seq), 'chain', log_end(chain, granted))
  return seq
end

-- Finds the users' grants and gives the others the next slots; writes nothing.
-- Returns known: {index from 0, value, …}; fields: {user, value, …} of the new grants;
-- runs: {{first, users}, …} of the new grants; and the head run after them with how many runs were fetched as heads.
-- `shut`: nothing is given, grants are only found.
local function decide(users, head, unclaimed, grants, at_us, shut)
  local known, fields, runs = {}, {}, {}
  local pack, filled = struct.pack, 0  -- for each user a look for a global, and for a table's end, would cost
  local winners_by_name = {}
  local first, slot, stop = head.first, head.slot, head.stop
  local run, fetched, empty = nil, 0, shut
  local finished = {}
  for start = 1, #users, ARGUMENTS_MAX do
    local held = redis.call('HMGET', grants, unpack(users, start, math.min(start + ARGUMENTS_MAX - 1, #users)))
    for k = 1, #held do
      local user = users[start + k - 1]
      local value = held[k] or winners_by_name[user]
      if value then
        known[#known + 1] = start + k - 2
        known[#known + 1] = value
      else
        if slot == stop and not empty then
          local following = redis.call('LINDEX', unclaimed, fetched)
          if following then
            if first < slot then
              finished[#finished + 1] = integer(first) .. ' ' .. integer(slot)
            end
            fetched = fetched + 1
            first, stop = parse_run(following)
            slot, run = first, nil
          else
            empty = true
          end
        end
        if slot < stop and not shut then
          value = pack('>I7', slot) .. at_us
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
  return known, fields, runs, {first = first, slot = slot, stop = stop, fetched = fetched, finished = finished}
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

-- One pot of a call: finds grants, and says what is to be written (`store_pot`). Writes nothing. nil: it was never opened.
local function look_into(pot, users, at_us_packed, from_us, until_us)
  local state = redis.call('HMGET', pot, 'first', 'next', 'stop', 'left', 'claimed')
  if not state[1] then
    return nil
  end
  local before = {first = tonumber(state[1]), slot = tonumber(state[2]), stop = tonumber(state[3])}
  local prefix, name = string.match(pot, '^(.-:)pot:(.*)$')
  local looked = {pot = pot, name = name, users = users, left = state[4], claimed = state[5],
    unclaimed = prefix .. 'unclaimed:' .. name, granted = prefix .. 'granted:' .. name,
    grants = prefix .. 'grants:' .. name}
  if from_us ~= 'ever' then
    looked.shut_us = outside(from_us, until_us)
  end
  looked.known, looked.fields, looked.runs, looked.head =
    decide(users, before, looked.unclaimed, looked.grants, at_us_packed, looked.shut_us ~= nil)
  return looked
end

-- Writes what was decided on a pot.
local function store_pot(looked)
  local fields, head, grants = looked.fields, looked.head, looked.grants
  local new = #fields / 2
  for start = 1, #fields, ARGUMENTS_MAX do
    redis.call('HSET', grants, unpack(fields, start, math.min(start + ARGUMENTS_MAX - 1, #fields)))
  end
  if head.fetched > 0 then
    redis.call('LPOP', looked.unclaimed, head.fetched)
    for _, run in ipairs(head.finished) do
      redis.call('RPUSH', looked.granted, run)
    end
  end
  local slot, left, claimed = integer(head.slot), integer(looked.left - new), integer(looked.claimed + new)
  if head.fetched > 0 then  -- else the head is the same run as before, and its ends need not be written
    redis.call('HSET', looked.pot, 'first', integer(head.first), 'next', slot, 'stop', integer(head.stop),
      'left', left, 'claimed', claimed)
  else
    redis.call('HSET', looked.pot, 'next', slot, 'left', left, 'claimed', claimed)
  end
end

-- KEYS: meta, log, and each pot; its other keys are named after it. ARGV: epoch, replicas, at_us, at_us in 7 bytes, the
-- users as JSON, the fingerprint of that text, and, if new grants are given only within them, the instants from which and
-- until which, in µs, for each pot, or 'ever'. The users are one list, of several pots a list for each.
-- Returns seq, `chain`, and for each pot {first, count, …} of the new grants, {index from 0, value, …} of the known ones,
-- and the server's time if that is why nothing was given, else false. Whoever is in neither list found the pot empty, or
-- shut.
local function claim(keys, args)
  local meta, log = keys[1], keys[2]
  local epoch, replicas, at_us, at_us_packed, names, names_digest = unpack(args, 1, 6)
  local seq, chain, granted_before = state_under(meta, epoch)
  if not seq then
    return chain
  end
  local users = cjson.decode(names)
  local by_pot = #keys == 3 and {users} or users
  local pots, before, found = {}, seq, false
  for number = 3, #keys do
    local looked =
      look_into(keys[number], by_pot[number - 2], at_us_packed, args[2 * number + 1], args[2 * number + 2])
    if not looked then
      return refuse('NOPOT', integer(number - 3))
    end
    pots[number - 2] = looked
    found = found or #looked.known > 0
  end

  local answer, granted = {seq, ''}, tonumber(granted_before)
  for number, looked in ipairs(pots) do
    local told = {}
    for _, run in ipairs(looked.runs) do
      local count = run.count
      local text, digest = names, names_digest
      if #keys > 3 or count ~= #users then
        text = text_of(run.users)
        digest = fingerprint(text)
      end
      local name, first = looked.name, integer(run.first)
      seq = seq + 1
      redis.call('XADD', log, integer(seq) .. '-0', 'kind', 'granted', 'pot', name, 'first_slot', first,
        'count', count, 'at_us', at_us, 'users', text, 'before', chain)
      chain = fingerprint(chain .. ' granted ' .. name .. ' ' .. first .. ' ' .. count .. ' ' .. at_us .. ' ' .. digest)
      granted = granted + count
      told[#told + 1] = run.first
      told[#told + 1] = count
    end
    if #told > 0 then
      store_pot(looked)
    end
    answer[number + 2] = {told, looked.known, looked.shut_us or false}
  end
  answer[1], answer[2] = seq, log_end(chain, integer(granted))
  if seq > before then
    redis.call('HSET', meta, 'seq', integer(seq), 'chain', answer[2])
  elseif found and replicas ~= '0' then
    touch_write(meta)
  end
  return answer
end

-- KEYS: meta, log, pot, unclaimed, taken. ARGV: epoch, replicas, pot, count, transfer. Returns seq and the runs as JSON.
local function take(keys, args)
  local meta, log, pot, unclaimed, taken = unpack(keys)
  local epoch, replicas, name, count, transfer = unpack(args)
  local seq, chain, so_far = state_under(meta, epoch)
  if not seq then
    return chain
  end
  local state = redis.call('HMGET', pot, 'next', 'stop', 'left')
  if not state[1] then
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

  local slot, stop = tonumber(state[1]), tonumber(state[2])
  local wanted = math.min(tonumber(count), tonumber(state[3]))
  local missing, popped, kept = wanted, 0, nil
  local runs = {}
  while missing > 0 do
    local tail = redis.call('LINDEX', unclaimed, -1 - popped)
    local from, to = slot, stop
    if tail then
      from, to = parse_run(tail)
      popped = popped + 1
    end
    local start = math.max(from, to - missing)
    table.insert(runs, 1, '[' .. integer(start) .. ',' .. integer(to - start) .. ']')
    missing = missing - (to - start)
    if not tail then
      stop = start
    elseif start > from then
      kept = integer(from) .. ' ' .. integer(start)
    end
  end
  local text = '[' .. table.concat(runs, ',') .. ']'

  append_move(meta, log, seq + 1, chain, so_far, 'taken', name, text, transfer)
  if popped > 0 then
    redis.call('RPOP', unclaimed, popped)
  end
  if kept then
    redis.call('RPUSH', unclaimed, kept)
  end
  redis.call('HSET', pot, 'stop', integer(stop), 'left', integer(tonumber(state[3]) - wanted))
  redis.call('HSET', taken, transfer, text .. ' ' .. name)
  return {seq + 1, text}
end

-- The first of these runs that meets a run of the pot, held or granted, or one of the runs before it; nil if none does.
local function overlap(runs, state, unclaimed, granted)
  local held = {{tonumber(state[1]), tonumber(state[2])}, {tonumber(state[2]), tonumber(state[3])}}
  for _, list in ipairs({granted, unclaimed}) do
    for _, text in ipairs(redis.call('LRANGE', list, 0, -1)) do
      held[#held + 1] = {parse_run(text)}
    end
  end
  for _, run in ipairs(runs) do
    local first, stop = run[1], run[1] + run[2]
    for _, other in ipairs(held) do
      if other[1] < other[2] and first < other[2] and other[1] < stop then
        return integer(run[1]) .. ' ' .. integer(run[2])
      end
    end
    held[#held + 1] = {first, stop}
  end
  return nil
end

-- KEYS: meta, log, pot, unclaimed, granted, given. ARGV: epoch, replicas, pot, runs as JSON, transfer. Returns the seq.
local function give(keys, args)
  local meta, log, pot, unclaimed, granted, given = unpack(keys)
  local epoch, replicas, name, text, transfer = unpack(args)
  local seq, chain, so_far = state_under(meta, epoch)
  if not seq then
    return chain
  end
  local state = redis.call('HMGET', pot, 'first', 'next', 'stop', 'left')
  if not state[1] then
    return refuse('NOPOT', name)
  end
  local done = redis.call('HGET', given, transfer)
  if done then
    if done ~= text .. ' ' .. name then
      return refuse('CONFLICT', done)
    end
    return touch(keys, args)[1]
  end
  local runs = cjson.decode(text)
  local met = overlap(runs, state, unclaimed, granted)
  if met then
    return refuse('ALREADY', met)
  end

  append_move(meta, log, seq + 1, chain, so_far, 'given', name, text, transfer)
  local left = tonumber(state[4])
  for _, run in ipairs(runs) do
    if run[2] > 0 then
      redis.call('RPUSH', unclaimed, integer(run[1]) .. ' ' .. integer(run[1] + run[2]))
      left = left + run[2]
    end
  end
  redis.call('HSET', pot, 'left', integer(left))
  redis.call('HSET', given, transfer, text .. ' ' .. name)
  return seq + 1
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
register('found', found)
-- A full memory must not keep the recorder from reading and trimming, nor a warden from its work.
register('touch', touch, {'allow-oom'})
register('trim', trim, {'allow-oom'})
register('fence', fence, {'allow-oom'})
register('prove', prove, {'allow-oom'})
register('doubt', doubt, {'allow-oom'})
