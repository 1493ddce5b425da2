#!lua name=cq
-- FCALL_RO cq_peek 1 <stream> [count]: the last entries of a stream as a JSON array, oldest first.
-- FCALL cq_halt 1 <deployment's control stream> <who> [reason [scope]]: a halt as `cq halt` asks for it, of the account or
-- of 'strategy:<name>' or 'contract:<conId>'.
--
-- Bodies are msgpack, transcoded here byte by byte: Lua numbers are doubles, so 64-bit integers are printed from their
-- bytes, exactly. Tick batches (type `ticks`) are 64-byte records (shared/messages/market.py). Bytes that are not
-- UTF-8 are printed as \u00XX each. What cannot be decoded is shown as {"undecodable": "<hex>"}.

local function escape(text)
  local out = {}
  local i, n = 1, #text
  while i <= n do
    local c = string.byte(text, i)
    local size = 1
    if c >= 0xF0 and c < 0xF5 then size = 4 elseif c >= 0xE0 and c < 0xF0 then size = 3 elseif c >= 0xC2 and c < 0xE0 then size = 2 end
    local valid = c < 0x80 or size > 1
    for k = 1, size - 1 do
      local follow = string.byte(text, i + k)
      if not follow or follow < 0x80 or follow > 0xBF then valid = false end
      -- Longer than needed, half of a surrogate pair, or beyond Unicode: no UTF-8 either.
      if valid and k == 1 and ((c == 0xE0 and follow < 0xA0) or (c == 0xED and follow > 0x9F)
        or (c == 0xF0 and follow < 0x90) or (c == 0xF4 and follow > 0x8F)) then valid = false end
    end
    if c == 34 or c == 92 then
      out[#out + 1] = '\\' .. string.char(c)
      i = i + 1
    elseif c < 32 or c == 127 or not valid then
      out[#out + 1] = string.format('\\u%04x', c)
      i = i + 1
    else
      out[#out + 1] = string.sub(text, i, i + size - 1)
      i = i + size
    end
  end
  return '"' .. table.concat(out) .. '"'
end

-- The decimal text of an unsigned integer given as big-endian bytes.
local function unsigned(bytes)
  local digits = {0}
  for b = 1, #bytes do
    local carry = bytes[b]
    for i = 1, #digits do
      local value = digits[i] * 256 + carry
      digits[i] = value % 10000000
      carry = math.floor(value / 10000000)
    end
    if carry > 0 then digits[#digits + 1] = carry end
  end
  local out = {tostring(digits[#digits])}
  for i = #digits - 1, 1, -1 do
    out[#out + 1] = string.format('%07d', digits[i])
  end
  return table.concat(out)
end

local function signed(bytes)
  if bytes[1] < 128 then return unsigned(bytes) end
  local flipped, carry = {}, 1
  for i = #bytes, 1, -1 do
    local value = 255 - bytes[i] + carry
    carry = value > 255 and 1 or 0
    flipped[i] = value % 256
  end
  return '-' .. unsigned(flipped)
end

local function take(text, at, count)
  if at + count - 1 > #text then error('short', 0) end
  return {string.byte(text, at, at + count - 1)}
end

local function length(text, at, count)
  local value = 0
  for _, byte in ipairs(take(text, at, count)) do value = value * 256 + byte end
  return value
end

local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then return 'null' end
  for _, digits in ipairs({15, 16, 17}) do
    local text = string.format('%.' .. digits .. 'g', value)
    if tonumber(text) == value then return text end
  end
end

-- A big-endian IEEE 754 number of 4 or 8 bytes.
local function float(bytes)
  local sign = bytes[1] >= 128 and -1 or 1
  local exponent, mantissa, bias, bits
  if #bytes == 8 then
    exponent = (bytes[1] % 128) * 16 + math.floor(bytes[2] / 16)
    mantissa = bytes[2] % 16
    for i = 3, 8 do mantissa = mantissa * 256 + bytes[i] end
    bias, bits = 1023, 52
  else
    exponent = (bytes[1] % 128) * 2 + math.floor(bytes[2] / 128)
    mantissa = ((bytes[2] % 128) * 256 + bytes[3]) * 256 + bytes[4]
    bias, bits = 127, 23
  end
  if exponent == 2 * bias + 1 then return 'null' end
  if exponent == 0 then return number(sign * math.ldexp(mantissa, 1 - bias - bits)) end
  return number(sign * math.ldexp(1 + math.ldexp(mantissa, -bits), exponent - bias))
end

local decode

local function decode_text(text, at, count)
  take(text, at, count > 0 and 1 or 0)
  if at + count - 1 > #text then error('short', 0) end
  return escape(string.sub(text, at, at + count - 1)), at + count
end

local function decode_array(text, at, count, depth)
  local out = {}
  for i = 1, count do out[i], at = decode(text, at, depth + 1) end
  return '[' .. table.concat(out, ',') .. ']', at
end

local function decode_map(text, at, count, depth)
  local out = {}
  for i = 1, count do
    local key, value
    key, at = decode(text, at, depth + 1)
    if string.sub(key, 1, 1) ~= '"' then key = escape(key) end
    value, at = decode(text, at, depth + 1)
    out[i] = key .. ':' .. value
  end
  return '{' .. table.concat(out, ',') .. '}', at
end

decode = function(text, at, depth)
  if depth > 64 then error('deep', 0) end
  local c = take(text, at, 1)[1]
  if c < 0x80 then return tostring(c), at + 1 end
  if c < 0x90 then return decode_map(text, at + 1, c - 0x80, depth) end
  if c < 0xA0 then return decode_array(text, at + 1, c - 0x90, depth) end
  if c < 0xC0 then return decode_text(text, at + 1, c - 0xA0) end
  if c >= 0xE0 then return tostring(c - 256), at + 1 end
  if c == 0xC0 then return 'null', at + 1 end
  if c == 0xC2 then return 'false', at + 1 end
  if c == 0xC3 then return 'true', at + 1 end
  if c == 0xC4 or c == 0xD9 then return decode_text(text, at + 2, length(text, at + 1, 1)) end
  if c == 0xC5 or c == 0xDA then return decode_text(text, at + 3, length(text, at + 1, 2)) end
  if c == 0xC6 or c == 0xDB then return decode_text(text, at + 5, length(text, at + 1, 4)) end
  if c == 0xCA then return float(take(text, at + 1, 4)), at + 5 end
  if c == 0xCB then return float(take(text, at + 1, 8)), at + 9 end
  if c >= 0xCC and c <= 0xCF then
    local size = 2 ^ (c - 0xCC)
    return unsigned(take(text, at + 1, size)), at + 1 + size
  end
  if c >= 0xD0 and c <= 0xD3 then
    local size = 2 ^ (c - 0xD0)
    return signed(take(text, at + 1, size)), at + 1 + size
  end
  if c == 0xDC then return decode_array(text, at + 3, length(text, at + 1, 2), depth) end
  if c == 0xDD then return decode_array(text, at + 5, length(text, at + 1, 4), depth) end
  if c == 0xDE then return decode_map(text, at + 3, length(text, at + 1, 2), depth) end
  if c == 0xDF then return decode_map(text, at + 5, length(text, at + 1, 4), depth) end
  error('kind', 0)
end

local function reversed(text, at, count)
  local bytes = take(text, at, count)
  local out = {}
  for i = 1, count do out[i] = bytes[count + 1 - i] end
  return out
end

local KINDS = {[0] = 'quote', [1] = 'trade', [2] = 'marker'}

local function decode_ticks(body)
  if #body % 64 ~= 0 then error('length', 0) end
  local out = {}
  for at = 1, #body, 64 do
    local kind = string.byte(body, at + 24)
    local values = {}
    for i = 0, 3 do values[i] = float(reversed(body, at + 32 + 8 * i, 8)) end
    local head = string.format('{"con_id":%s,"ts_event_ns":%s,"ts_init_ns":%s,"kind":"%s","quality":%d,"flags":%s',
      signed(reversed(body, at, 8)), signed(reversed(body, at + 8, 8)), signed(reversed(body, at + 16, 8)),
      KINDS[kind] or tostring(kind), string.byte(body, at + 25), unsigned(reversed(body, at + 26, 2)))
    local tail = string.format(',"bid":%s,"bid_size":%s,"ask":%s,"ask_size":%s}', values[0], values[1], values[2], values[3])
    if kind == 1 then tail = string.format(',"price":%s,"size":%s}', values[0], values[1]) end
    out[#out + 1] = head .. tail
  end
  return '[' .. table.concat(out, ',') .. ']'
end

local function hex(text)
  return (string.gsub(string.sub(text, 1, 256), '.', function(c) return string.format('%02x', string.byte(c)) end))
end

local function decode_body(kind, body)
  local ok, json, after = pcall(function()
    if kind == 'ticks' then return decode_ticks(body), #body + 1 end
    return decode(body, 1, 0)
  end)
  if ok and after == #body + 1 then return json end
  return '{"undecodable":"' .. hex(body) .. '"}'
end

local function peek(keys, args)
  local count = tonumber(args[1] or '10')
  if not count or count < 1 or count > 10000 then
    return redis.error_reply('ERR count must be a number from 1 to 10000')
  end
  local rows = redis.call('XREVRANGE', keys[1], '+', '-', 'COUNT', math.floor(count))
  local out = {}
  for i = #rows, 1, -1 do
    local fields = rows[i][2]
    local kind = ''
    for j = 1, #fields, 2 do
      if fields[j] == 'type' then kind = fields[j + 1] end
    end
    local shown = {'"entry":' .. escape(rows[i][1])}
    for j = 1, #fields, 2 do
      local value = fields[j] == 'body' and decode_body(kind, fields[j + 1]) or escape(fields[j + 1])
      shown[#shown + 1] = escape(fields[j]) .. ':' .. value
    end
    out[#out + 1] = '{' .. table.concat(shown, ',') .. '}'
  end
  return '[' .. table.concat(out, ',\n') .. ']'
end

redis.register_function{function_name = 'cq_peek', callback = peek, flags = {'no-writes', 'allow-stale'}}

-- The ISO date and time of Unix seconds, UTC (days to a civil date: Howard Hinnant's algorithm).
local function iso(seconds, micros)
  local days, rest = math.floor(seconds / 86400), seconds % 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(rest / 3600), math.floor(rest / 60) % 60, rest % 60, micros)
end

-- One entry of `control`, as shared/messages/control.py reads it. It works while Redis is out of memory.
local function halt(keys, args)
  if #keys ~= 1 or not string.find(keys[1], '^cq:[^:]+:control$') then
    return redis.error_reply('ERR cq_halt takes one key, the stream cq:<deployment>:control')
  end
  local who = args[1] or ''
  if who == '' or #who > 100 or #(args[2] or '') > 1000 then
    return redis.error_reply('ERR cq_halt: say who you are, then why: FCALL cq_halt 1 cq:<deployment>:control anna "bad fills"')
  end
  local scope = args[3] or 'account'
  if #scope > 100 or not (scope == 'account' or string.find(scope, '^strategy:.') or string.find(scope, '^contract:%d+$')) then
    return redis.error_reply("ERR cq_halt: the scope is 'account', 'strategy:<name>' or 'contract:<conId>', a number")
  end
  local now = redis.call('TIME')
  local id = string.format('redis-cli:%s:%06d', now[1], tonumber(now[2]))
  local body = cmsgpack.pack({v = 1, control_id = id, action = 'halt', scope = scope, who = who, reason = args[2] or ''})
  redis.call('XADD', keys[1], '*', 'type', 'control', 'key', scope, 'id', id, 'source', 'redis-cli', 'epoch', '0',
    'ts', iso(tonumber(now[1]), tonumber(now[2])), 'body', body)
  local shown = scope == 'account' and 'stage holding or clean' or 'halt:' .. scope .. ' holding'
  return 'asked for; it holds once HGETALL ' .. string.gsub(keys[1], 'control$', 'halt') .. ' shows ' .. shown
end

redis.register_function{function_name = 'cq_halt', callback = halt, flags = {'allow-oom'}}
