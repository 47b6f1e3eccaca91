#!lua name=redrush_@{digest}
-- The claim rules inside Valkey, in parts that are one text for the server (keys.py): every change of a set is one call, atomic
-- in memory, in the append-only file (its effects
-- are one MULTI/EXEC there) and on replicas.
--
-- Keys of a set share one hash tag, {campaign/set}:
--   meta             hash: epoch, replicas (the terms), primary (whose terms they are, if it was named), seq (of the
--                    last log record), chain ("<fingerprint of the log up to there> <how many grants are in it>"),
--                    proven (the run id of the server process in which the log was compared with what others know
--                    of it), touched, detached (detach.lua), forks ("<epoch> <seq> …": under this epoch the set went on
--                    with other records after this one, or with none, than it had before), losses and honoured
--                    (proof.py); listed (how many of `taken` were looked at for `moved`)
--   log              stream, ids <seq>-0: what changed, in order; `before` is the fingerprint of all that comes before it
--   taken, given     hashes: transfer id -> "<runs as JSON> <pot>"
--   moved            hash: of `taken` what joins another pot. What went back from small pots that ended is not in it: that
--                    is one for each of them, and nobody asks for it (`note_taken`)
--   pot:<pot>        a big pot, hash: opened "<first> <count>"; first, next, stop of the head run, of which first..next-1
--                    are granted and next..stop-1 come next; left and claimed in the whole pot; and only where it is
--                    not as most are: limit, hold (µs), returned, held, waits, asked, members
--                    (`pot_of`)
--   unclaimed:<pot>  list of the runs after the head, "<first> <stop>" each
--   granted:<pot>    list of the runs that the head was before and that were granted; not of a pot of holds
--   waiting:<pot>    list of the slots that were released and not offered again
--   grants:<pot>     hash: user -> 14 bytes, slot and at_us, 7 bytes each, big-endian; of a pot of holds 28: number and
--                    deadline too; a request that has a name is <user><255><request>, and <254><user> counts those
--   pot:<pot>        a small pot, hash: grants as above, and in <255> all else, packed (`state_of`)
--   notes            hash: pot -> what its opener wrote down with it; apart, so that no claim has it in its way
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
local SCATTERED_MIN = 8  -- single grants of one call that become one record instead of one each

-- No text in UTF-8 has these bytes, so no user's field is one of these.
local STATE, BETWEEN = '\255', '\255'  -- the state of a small pot; between user and request
local COUNT = '\254'  -- before a user: how many grants to named requests they have

local REST = '@{rest}'  -- transfers whose ids begin so take slots out that join no other pot

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
  local text = cjson.encode(users)
  if not string.find(text, '\\', 1, true) then
    return text
  end
  return (string.gsub(text, '\\([/\\u]%x?%x?%x?%x?)', function(escaped)
    if string.sub(escaped, 1, 1) == '/' then
      return escaped
    elseif escaped == 'u007f' then
      return '\127'
    end
  end))
end

-- Only replicas are told: the server's own file has what was read before, or WAITAOF waits for that, and one more
-- fsync would keep all others waiting.
local function touch_write(meta)
  redis.set_repl(redis.REPL_REPLICA)
  redis.call('HINCRBY', meta, 'touched', 1)
  redis.set_repl(redis.REPL_ALL)
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
