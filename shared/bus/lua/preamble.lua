-- Put in front of every script below: the incarnation, the fence check, and the append of packed entries.
-- Epochs are compared as text (they are exact there); as numbers only to find the larger (clock in us, below 2^53).

-- Both ids have 40 digits. They are searched for as plain text: a pattern would be tried at each letter of the answer,
-- which took longer than all the rest of a script.
local function incarnation()
  local info = redis.call('INFO', 'server', 'replication')
  local _, run = string.find(info, '\nrun_id:', 1, true)
  local _, replid = string.find(info, '\nmaster_replid:', run, true)
  return string.sub(info, run + 1, run + 40) .. ':' .. string.sub(info, replid + 1, replid + 40)
end

-- Returns nil if (owner, epoch, incarnation) leads and may publish, else the sentence of a FENCED error.
local function fenced(lease_key, fence_key, owner, epoch, made_in)
  local lease = redis.call('HMGET', lease_key, 'owner', 'epoch', 'incarnation')
  if lease[1] ~= owner or lease[2] ~= epoch or lease[3] ~= made_in then
    return 'FENCED the lease is ' .. (lease[1] or 'nobody') .. "'s, epoch " .. (lease[2] or '0')
  end
  if incarnation() ~= made_in then
    return 'FENCED the server is another incarnation'
  end
  local fence = redis.call('GET', fence_key)
  if fence ~= epoch then
    return 'FENCED the fence stands at ' .. (fence or '0')
  end
  return nil
end

-- Reads one packed entry at ARGV[at]: a field count, then that many field/value pairs. Returns the entry and what follows.
local function packed(at)
  local count = tonumber(ARGV[at]) * 2
  local entry = {}
  for i = 1, count do
    entry[i] = ARGV[at + i]
  end
  return entry, at + count + 1
end
