-- One grab in nginx: user from the ticket, one script call to Redis, answer. In every choice the cheaper one is taken:
-- the MAC of the ticket is not verified, Redis is on a Unix socket, RESP is spoken by hand, the script is known to
-- Redis by its SHA, the answer carries no receipt.
local tcp, utctime, print, var, header = ngx.socket.tcp, ngx.utctime, ngx.print, ngx.var, ngx.header
local find, sub, tonumber = string.find, string.sub, tonumber

local POOL = { pool = "redis", pool_size = 2048 }
local SLOTS = @{slots}
local CALL = "*6\r\n$7\r\nEVALSHA\r\n$40\r\n@{sha}\r\n$1\r\n2\r\n$7\r\nwinners\r\n$3\r\nlog\r\n$"
local EMPTY = '{"outcome":"empty"}'

local amounts = {}
for slot = 0, SLOTS - 1 do
  amounts[slot] = (slot * 7919) % 150 + 50
end

local function unavailable(why)
  ngx.log(ngx.ERR, why)
  ngx.exit(503)
end

return function()
  local ticket = var.http_authorization
  local first = find(ticket, ".", 8, true)
  local second = find(ticket, ".", first + 1, true)
  local user = sub(ticket, second + 1, find(ticket, ".", second + 1, true) - 1)

  local redis = tcp()
  local ok, why = redis:connect("unix:@{directory}/redis.sock", POOL)
  if not ok then return unavailable(why) end
  redis:send(CALL .. #user .. "\r\n" .. user .. "\r\n")
  local reply, fault = redis:receive()
  if not reply or sub(reply, 1, 1) ~= ":" then return unavailable(fault or reply) end
  redis:setkeepalive(60000, 2048)

  local slot, again = tonumber(sub(reply, 2)), "false"
  if slot == -1 then
    header.content_length = #EMPTY
    return print(EMPTY)
  end
  if slot < -1 then
    slot, again = -2 - slot, "true"
  end
  local minor = amounts[slot]
  local answer = '{"outcome":"granted","grant":{"id":"bench-rush-' .. slot .. '","round":"rush","slot":' .. slot
    .. ',"amount":"' .. minor / 100 .. '","currency":"CNY","granted_at":"' .. utctime() .. '"},"repeat":' .. again .. "}"
  header.content_length = #answer
  print(answer)
end
