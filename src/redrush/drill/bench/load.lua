-- The load of `redrush bench`: the same requests, in the same order, to redrush and to its peers.
--
-- Arguments after the URL: TICKETS (a file, one ticket a line, all of one length; behind a tab may stand what the ticket
-- is used for, all of one length, too), HEADS (a file of requests parted by form feeds, each with `@TICKET@` where the
-- ticket goes, with `@USE@` where that goes, and with `@OWN_HEX_DIGITS@` wherever a number goes that every request has
-- for itself; they take turns), MODE:
--   once   every request is another line of TICKETS; at the end the run ends and says `exhausted`
--   cycle  the same, but TICKETS starts over
--   same   every connection repeats one request (head 1, ticket 1) byte for byte, as a browser on keep-alive does.
--          wrk does not tell a script which connection asks, so it is one request for all connections.
--
-- There is no response() on purpose: it costs wrk more than the request itself. What the answers were is checked on
-- the server's side after the run.
--
-- A ticket, and a number, is written into the bytes of a Lua string that stands for its head, which Lua itself would never do. wrk
-- copies the bytes as soon as request() returns, and nothing else looks at these strings. Rejected: building a string
-- per request. Lua interns every string, LuaJIT hashes a long one by a few of its bytes, and requests differ in few:
-- they fell into one chain, and wrk became slower than nginx, or did not end at all.

local ffi = require("ffi")

local MARK = "@TICKET@"
local USE_MARK = "@USE@"
local OWN_MARK = "@OWN_HEX_DIGITS@"
local ZERO, NINE, A, F = 48, 57, 97, 102
local NEWLINE = 10

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- Returns the lines as bytes, their length, how many there are, and how long the ticket in each of them is.
local function read_tickets(path)
  local text = read(path)
  local length = assert(text:find("\n", 1, true), "no tickets") - 1
  local bytes, count = ffi.cast("const char *", text), #text / (length + 1)
  for k = 0, math.floor(count) - 1 do
    assert(bytes[k * (length + 1) + length] == NEWLINE, "the tickets differ in length")
  end
  return bytes, length, math.floor(count), (text:find("\t", 1, true) or length + 1) - 1, text
end

-- Returns the requests with room for a ticket and its use, where in each of them these go, and where their numbers go.
local function read_heads(path, length, use_length)
  local requests, places, uses, numbers = {}, {}, {}, {}
  for head in (read(path) .. "\f"):gmatch("([^\f]+)\f") do
    local used_at = head:find(USE_MARK, 1, true)
    if used_at then
      head = head:sub(1, used_at - 1) .. ("?"):rep(use_length) .. head:sub(used_at + #USE_MARK)
    end
    local at = head:find(MARK, 1, true)
    assert(not used_at or used_at < at, "what a ticket is used for stands before it")
    local request = head:sub(1, at - 1) .. ("?"):rep(length) .. head:sub(at + #MARK)
    local bytes = ffi.cast("char *", ffi.cast("const char *", request))
    requests[#requests + 1] = request
    places[#places + 1] = bytes + (at - 1)
    uses[#places] = used_at and bytes + (used_at - 1)
    local found, from = {}, request:find(OWN_MARK, 1, true)
    while from do
      found[#found + 1] = bytes + (from - 1)
      from = request:find(OWN_MARK, from + 1, true)
    end
    numbers[#numbers + 1] = found
  end
  for _, of_request in ipairs(numbers) do
    for _, place in ipairs(of_request) do ffi.fill(place, #OWN_MARK, ZERO) end
  end
  return requests, places, uses, numbers
end

-- Adds one to a number of hexadecimal digits.
local function count_up(digits)
  for k = #OWN_MARK - 1, 0, -1 do
    local digit = digits[k]
    if digit ~= F then
      digits[k] = digit == NINE and A or digit + 1
      return
    end
    digits[k] = ZERO
  end
end

local main

function setup(thread)
  main = thread
end

function init(args)
  local lines, line_length, count, length
  lines, line_length, count, length, tickets_text = read_tickets(args[1]) -- a global, to keep the bytes alive
  local use_length = math.max(0, line_length - length - 1)
  local requests, places, uses, numbers = read_heads(args[2], length, use_length)
  local number, digits = ffi.new("char[?]", #OWN_MARK), #OWN_MARK
  ffi.fill(number, digits, ZERO)
  local mode, heads, copy = args[3], #requests, ffi.copy
  copy(places[1], lines, length)
  if uses[1] then copy(uses[1], lines + length + 1, use_length) end
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
    local line = lines + next_ticket * (line_length + 1)
    copy(places[turn], line, length)
    if uses[turn] then copy(uses[turn], line + length + 1, use_length) end
    next_ticket = next_ticket + 1
    local of_request = numbers[turn]
    if #of_request > 0 then
      count_up(number)
      for k = 1, #of_request do copy(of_request[k], number, digits) end
    end
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
