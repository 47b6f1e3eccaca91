-- The load of `redrush bench`: the same requests, in the same order, to redrush and to its peers.
--
-- Arguments after the URL: TICKETS (a file, one ticket a line, all of one length), HEADS (a file of request heads parted
-- by form feeds, each with `@TICKET@` where the ticket goes; they take turns), MODE:
--   once   every request is another line of TICKETS; at the end the run ends and says `exhausted`
--   cycle  the same, but TICKETS starts over
--   same   every connection repeats one request (head 1, ticket 1) byte for byte, as a browser on keep-alive does.
--          wrk does not tell a script which connection asks, so it is one request for all connections.
--
-- There is no response() on purpose: it costs wrk more than the request itself. What the answers were is checked on
-- the server's side after the run.
--
-- A ticket is written into the bytes of a Lua string that stands for its head, which Lua itself would never do. wrk
-- copies the bytes as soon as request() returns, and nothing else looks at these strings. Rejected: building a string
-- per request. Lua interns every string, LuaJIT hashes a long one by a few of its bytes, and requests differ in few:
-- they fell into one chain, and wrk became slower than nginx, or did not end at all.

local ffi = require("ffi")

local MARK = "@TICKET@"
local NEWLINE = 10

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- Returns the tickets as bytes, their length, and how many there are.
local function read_tickets(path)
  local text = read(path)
  local length = assert(text:find("\n", 1, true), "no tickets") - 1
  local bytes, count = ffi.cast("const char *", text), #text / (length + 1)
  for k = 0, math.floor(count) - 1 do
    assert(bytes[k * (length + 1) + length] == NEWLINE, "the tickets differ in length")
  end
  return bytes, length, math.floor(count), text
end

-- Returns the requests with room for a ticket, and where in each of them it goes.
local function read_heads(path, length)
  local requests, places = {}, {}
  for head in (read(path) .. "\f"):gmatch("([^\f]+)\f") do
    local at = head:find(MARK, 1, true)
    local request = head:sub(1, at - 1) .. ("?"):rep(length) .. head:sub(at + #MARK)
    requests[#requests + 1] = request
    places[#places + 1] = ffi.cast("char *", ffi.cast("const char *", request)) + (at - 1)
  end
  return requests, places
end

local main

function setup(thread)
  main = thread
end

function init(args)
  local tickets, length, count
  tickets, length, count, tickets_text = read_tickets(args[1]) -- a global, to keep the bytes alive
  local requests, places = read_heads(args[2], length)
  local mode, heads, copy = args[3], #requests, ffi.copy
  copy(places[1], tickets, length)
  built_at_s = os.clock()
  if mode == "same" then
    wrk.format = function() return requests[1] end
    return
  end
  -- wrk asks for one request before the run, only to verify it: that one takes no ticket.
  local verified, over, next_ticket, turn = false, false, 0, 1
  request = function()
    if not verified then
      verified = true
      return requests[1]
    end
    if next_ticket == count then
      if mode == "once" then
        if not over then
          over = true
          io.stdout:write("exhausted\n")
          io.stdout:flush()
          wrk.thread:stop()
        end
        return requests[turn]
      end
      next_ticket = 0
    end
    turn = turn % heads + 1
    copy(places[turn], tickets + next_ticket * (length + 1), length)
    next_ticket = next_ticket + 1
    return requests[turn]
  end
end

function done(summary, latency)
  local e = summary.errors
  io.stdout:write(string.format(
    '\n{"requests":%d,"duration_us":%d,"connect_errors":%d,"read_errors":%d,"write_errors":%d,"status_errors":%d,'
      .. '"timeouts":%d,"cpu_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    (os.clock() - main:get("built_at_s")) * 1e6, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), latency.max))
end
