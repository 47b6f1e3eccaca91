-- Part of the library (library.lua): slots are moved out of pots and into them.

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

local function joins_another(transfer)
  return string.sub(transfer, 1, #REST) ~= REST
end

-- Notes a transfer that was not noted before. `listed` is how many were noted so: where `taken` has more, the rest is by
-- functions of a release without `moved`.
local function note_taken(meta, taken, transfer, value)
  redis.call('HSET', taken, transfer, value)
  if joins_another(transfer) then
    redis.call('HSET', prefix_of(meta) .. 'moved', transfer, value)
  end
  redis.call('HINCRBY', meta, 'listed', 1)
end

-- Brings `moved` up to date. That is a look at two numbers, unless a release without it has taken slots here, before an
-- upgrade or during it: then all of `taken` is gone through, once. KEYS: meta, taken. ARGV: epoch. Returns 1, or 0
-- for a user of the server who may not look: one by the rules of such a release.
local function moved(keys, args)
  local meta, taken = unpack(keys)
  local seq, refusal = state_under(meta, args[1])
  if not seq then
    return refusal
  end
  local count = redis.pcall('HLEN', taken)
  if type(count) == 'table' then
    return 0
  elseif tonumber(redis.call('HGET', meta, 'listed') or 0) == count then
    return 1
  end
  local cursor, key = '0', prefix_of(meta) .. 'moved'
  repeat
    local page = redis.call('HSCAN', taken, cursor, 'COUNT', 1000)
    cursor = page[1]
    for k = 1, #page[2], 2 do
      if joins_another(page[2][k]) then
        redis.call('HSET', key, page[2][k], page[2][k + 1])
      end
    end
  until cursor == '0'
  redis.call('HSET', meta, 'listed', integer(count))
  return 1
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
  note_taken(meta, taken, transfer, text .. ' ' .. name)
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
