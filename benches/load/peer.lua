-- What a team would build itself on nginx: cards in a shared dictionary, in clear, for half an hour.
-- Written for speed: plain searches and cuts that LuaJIT compiles, one pass, no JSON tree on a sale.
local ffi = require "ffi"
local cjson = require "cjson.safe"
local base64url = require("ngx.base64").encode_base64url

ffi.cdef "int RAND_bytes(unsigned char *buf, int num);"

local find, sub, rep, byte = string.find, string.sub, string.rep, string.byte
local cards = ngx.shared.cards
local random = ffi.new("unsigned char[15]")

local TOKEN_LENGTH = 24 -- the prefix and 120 random bits
local CARD_SECONDS, CVV_SECONDS = 1800, 900

local peer = {}

local function fresh(prefix)
  ffi.C.RAND_bytes(random, 15)
  return prefix .. base64url(ffi.string(random, 15))
end

local function luhn(number)
  local sum, double = 0, false
  for at = #number, 1, -1 do
    local digit = byte(number, at) - 48
    if digit < 0 or digit > 9 then return false end
    if double then
      digit = digit * 2
      if digit > 9 then digit = digit - 9 end
    end
    sum, double = sum + digit, not double
  end
  return sum % 10 == 0
end

local function refuse(status)
  return ngx.exit(status)
end

-- POST /v1/tokens
function peer.capture(session)
  if ngx.var.http_authorization ~= session then return refuse(401) end
  ngx.req.read_body()
  local message = cjson.decode(ngx.req.get_body_data() or "")
  local card = message and message.card
  local number, cvv = card and card.number, card and card.cvv
  if not number or #number < 12 or #number > 19 or not luhn(number) then return refuse(422) end
  if not cvv or #cvv < 3 or #cvv > 4 then return refuse(422) end
  local token, cvv_token = fresh("tok_"), fresh("cvv_")
  if not cards:safe_set(token, number, CARD_SECONDS) then return refuse(503) end
  if not cards:safe_set(cvv_token, cvv, CVV_SECONDS) then return refuse(503) end
  local answer = '{"card":{"token":"' .. token .. '","cvv_token":"' .. cvv_token .. '","bin":"'
    .. sub(number, 1, 6) .. '","last4":"' .. sub(number, -4) .. '","exp_month":"' .. card.exp_month
    .. '","exp_year":"' .. card.exp_year .. '","expires_at":' .. ngx.time() + CARD_SECONDS .. "}}"
  ngx.status = 201
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #answer
  ngx.print(answer)
end

-- A sale on its way in.
function peer.reveal(virtual, real)
  if ngx.var.http_authorization ~= virtual then return refuse(401) end
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  if not body then return refuse(413) end
  local at, cvv_at = find(body, '"tok_', 1, true), find(body, '"cvv_', 1, true)
  if not at or not cvv_at or cvv_at < at then return refuse(422) end
  local token, cvv_token = sub(body, at + 1, at + TOKEN_LENGTH), sub(body, cvv_at + 1, cvv_at + TOKEN_LENGTH)
  local number, cvv = cards:get(token), cards:get(cvv_token)
  if not number or not cvv then return refuse(422) end
  cards:delete(cvv_token)
  ngx.ctx.number = number
  ngx.req.set_body_data(sub(body, 1, at) .. number .. sub(body, at + TOKEN_LENGTH + 1, cvv_at) .. cvv
    .. sub(body, cvv_at + TOKEN_LENGTH + 1))
  ngx.req.set_header("Authorization", real)
end

-- Its answer on the way out: held until it is whole, so that no card hides between two parts. What
-- replaces the number is as long as it is, so Content-Length stays true.
function peer.scrub()
  local context = ngx.ctx
  local number = context.number
  if not number then return end
  local chunk, last, held = ngx.arg[1], ngx.arg[2], context.held
  if not last then
    if held then
      held[#held + 1] = chunk
    else
      context.held = { chunk }
    end
    ngx.arg[1] = nil
    return
  end
  if held then
    held[#held + 1] = chunk
    chunk = #held == 1 and held[1] or table.concat(held)
  end
  local at = find(chunk, number, 1, true)
  while at do
    chunk = sub(chunk, 1, at + 5) .. rep("*", #number - 10) .. sub(chunk, at + #number - 4)
    at = find(chunk, number, at, true)
  end
  ngx.arg[1] = chunk
end

return peer
