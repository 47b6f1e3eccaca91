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
-- the server's side after the run.

local heads, tails, count = {}, {}, 0
local data, at, asked, last = "", 1, 0, nil
local find, sub = string.find, string.sub

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function take_ticket(mode)
  local stop = find(data, "\n", at, true)
  if not stop then
    if mode == "once" then
      if at > 0 then
        at = 0
        io.stdout:write("exhausted\n")
        io.stdout:flush()
        wrk.thread:stop()
      end
      return nil
    end
    at = 1
    stop = find(data, "\n", 1, true)
  end
  local ticket = sub(data, at, stop - 1)
  at = stop + 1
  return ticket
end

function init(args)
  data = read(args[1])
  for head in (read(args[2]) .. "\f"):gmatch("([^\f]+)\f") do
    local from, to = find(head, "@TICKET@", 1, true)
    count = count + 1
    heads[count], tails[count] = sub(head, 1, from - 1), sub(head, to + 1)
  end
  local mode = args[3]
  if mode == "same" then
    local only = heads[1] .. take_ticket(mode) .. tails[1]
    wrk.format = function() return only end
    return
  end
  -- wrk asks for one request before the run, only to verify it: that one takes no ticket.
  last = heads[1] .. sub(data, 1, find(data, "\n", 1, true) - 1) .. tails[1]
  local verified = false
  request = function()
    if not verified then
      verified = true
      return last
    end
    if at == 0 then return last end
    local ticket = take_ticket(mode)
    if ticket then
      local turn = asked % count + 1
      asked = asked + 1
      last = heads[turn] .. ticket .. tails[turn]
    end
    return last
  end
end

function done(summary, latency)
  local e = summary.errors
  io.stdout:write(string.format(
    '\n{"requests":%d,"duration_us":%d,"connect_errors":%d,"read_errors":%d,"write_errors":%d,"status_errors":%d,'
      .. '"timeouts":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
