-- The load of `redrush bench`: the same requests, in the same order, to redrush and to its peers.
--
-- Arguments after the URL: TICKETS (a file, one ticket a line), HEADS (a file of request heads parted by form feeds,
-- each with `@TICKET@` where the ticket goes), MODE:
--   once   every request is another line of TICKETS; at the end the run ends and says `exhausted`
--   cycle  the same, but TICKETS starts over
--   same   every connection repeats one request (head 1, ticket 1) byte for byte, as a browser on keep-alive does.
--          wrk does not tell a script which connection asks, so it is one request for all connections.
--
-- There is no response() on purpose: it costs wrk more than the request itself. What the answers were is checked on
-- the server's side after the run. And requests are built before the run as far as memory allows: building them while
-- nginx is under load made wrk the slower of the two.

local PREBUILT_BYTES_MAX = 512 * 1024 * 1024

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function read_heads(path)
  local heads, tails = {}, {}
  for head in (read(path) .. "\f"):gmatch("([^\f]+)\f") do
    local from, to = head:find("@TICKET@", 1, true)
    heads[#heads + 1], tails[#tails + 1] = head:sub(1, from - 1), head:sub(to + 1)
  end
  return heads, tails
end

-- Returns a function that gives the next request, built on the way, or nil after the last ticket.
local function built(data, heads, tails)
  local at, turn, find, sub = 1, 0, string.find, string.sub
  return function()
    local stop = find(data, "\n", at, true)
    if not stop then
      at = 1
      return nil
    end
    turn = turn % #heads + 1
    local request = heads[turn] .. sub(data, at, stop - 1) .. tails[turn]
    at = stop + 1
    return request
  end
end

-- The same from memory.
local function prebuilt(next_request)
  local requests, count, at = {}, 0, 0
  for request in next_request do
    count = count + 1
    requests[count] = request
  end
  collectgarbage()
  collectgarbage("stop")
  return function()
    at = at + 1
    local request = requests[at]
    if not request then at = 0 end
    return request
  end
end

local main

function setup(thread)
  main = thread
end

function init(args)
  local data, mode = read(args[1]), args[3]
  local heads, tails = read_heads(args[2])
  local next_request = built(data, heads, tails)
  if mode == "same" then
    local only = next_request()
    wrk.format = function() return only end
    built_at_s = os.clock()
    return
  end
  local _, count = data:gsub("\n", "")
  if count * (#heads[1] + #tails[1]) + #data <= PREBUILT_BYTES_MAX then
    next_request = prebuilt(next_request)
  end
  -- wrk asks for one request before the run, only to verify it: that one takes no ticket.
  local first, last, over = true, heads[1] .. data:match("[^\n]+") .. tails[1], false
  built_at_s = os.clock()
  request = function()
    if first then
      first = false
      return last
    end
    if over then return last end
    local request = next_request()
    if request then
      last = request
      return request
    end
    if mode == "cycle" then return next_request() end
    over = true
    io.stdout:write("exhausted\n")
    io.stdout:flush()
    wrk.thread:stop()
    return last
  end
end

function done(summary, latency)
  local e = summary.errors
  io.stdout:write(string.format(
    '\n{"requests":%d,"duration_us":%d,"connect_errors":%d,"read_errors":%d,"write_errors":%d,"status_errors":%d,'
      .. '"timeouts":%d,"cpu_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    (os.clock() - main:get("built_at_s")) * 1e6, latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
