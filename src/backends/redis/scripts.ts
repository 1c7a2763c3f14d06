import { createHash } from 'node:crypto'

/** A script that runs in Redis, in one step. */
export interface Script {
  readonly name: string
  readonly text: string
  readonly sha: string
}

/*
 * The ledger of a partition is one sorted set, so that it is whole or gone. Its members:
 *   run:<replication id>  the master under which it was begun; -1
 *   epoch                 a random number, minus
 *   clock, floor, everything, began, ttl
 *                         the clock; the latest invalidation that was forgotten; that of everything; when it was begun by
 *                         the server's time; the longest time that an entry was kept: all in microseconds, minus
 *   :<tag>                the tag's last invalidation
 *   -<key>                when the entry was deleted, for those who keep copies
 * The numbers about itself are negative, so that ranges above zero hold nothing but tags and keys.
 *
 * A ledger that another master has begun, or that this one had in an earlier reign, may lack the last invalidations: it is
 * begun anew with another epoch. Entries carry the epoch, and one of another epoch counts as none.
 */
const PRELUDE = `
local function reign()
  local info = redis.call('INFO', 'replication')
  if not string.find(info, 'role:master', 1, true) then error('READONLY this is no master') end
  -- Told only where a master is to have replicas: without any it may have been replaced.
  if string.find(info, 'min_slaves_good_slaves:0', 1, true) then error('NOREPLICAS this master is cut off') end
  local at = string.find(info, 'master_replid:', 1, true)
  return 'run:' .. string.sub(info, at + 14, at + 53)
end

local function text(number)
  return string.format('%.0f', number)
end

local function open(ledger, fresh)
  local run = reign()
  local found = redis.call('ZMSCORE', ledger, run, 'epoch', 'clock', 'floor', 'everything', 'began', 'ttl')
  if found[1] then
    return {
      epoch = -tonumber(found[2]), clock = -tonumber(found[3]), floor = -tonumber(found[4]),
      everything = -tonumber(found[5]), began = -tonumber(found[6]), ttl = -tonumber(found[7]),
    }
  end
  local time = redis.call('TIME')
  local began = time[1] * 1000000 + time[2]
  redis.call('UNLINK', ledger)
  redis.call('ZADD', ledger, -1, run, -fresh, 'epoch', -1, 'clock', 0, 'floor', 0, 'everything', -began, 'began', 0, 'ttl')
  return { epoch = tonumber(fresh), clock = 1, floor = 0, everything = 0, began = began, ttl = 0 }
end

local function from(list, first)
  local rest = {}
  for at = first, #list do rest[#rest + 1] = list[at] end
  return rest
end

local function latest(ledger, state, tags)
  local last = state.everything
  for first = 1, #tags, 1000 do
    local members = {}
    for at = first, math.min(#tags, first + 999) do members[#members + 1] = ':' .. tags[at] end
    for _, found in ipairs(redis.call('ZMSCORE', ledger, unpack(members))) do
      local at = found and tonumber(found) or state.floor
      if at > last then last = at end
    end
  end
  return last
end

local function texts(packed)
  local isPacked, list = pcall(cmsgpack.unpack, packed)
  if not isPacked or type(list) ~= 'table' then return nil end
  for _, value in pairs(list) do
    if type(value) ~= 'string' then return nil end
  end
  return list
end

-- What a frame says before its head; nil for other bytes.
local function peek(frame)
  if type(frame) ~= 'string' or not string.find(frame, '^tgc[23]') then return nil end
  local isRead, stamp, fresh, size, epoch, at = pcall(struct.unpack, '<ddI4Bc0', frame, 9)
  if not isRead then return nil end
  local tags = texts(string.sub(frame, at, at + size - 1))
  return tags and { stamp = stamp, fresh = fresh, epoch = epoch, tags = tags }
end

local function advance(ledger, state)
  local time = redis.call('TIME')
  state.clock = math.max(state.clock + 1, time[1] * 1000000 + time[2] - state.began)
  redis.call('ZADD', ledger, -state.clock, 'clock')
end

-- Computations that are under way may be older than anything kept: they get so many microseconds.
local GRACE = 60 * 1000000

-- Forgets invalidations that nothing kept can be older than, and the oldest where there are too many; no more than so many a time.
local function prune(ledger, state, most)
  local spare = redis.call('ZCARD', ledger) - 7 - most
  local found = redis.call('ZRANGEBYSCORE', ledger, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, math.max(1000, math.min(spare, 5000)))
  local members, last = {}, 0
  for at = 1, #found, 2 do
    local clock = tonumber(found[at + 1])
    if spare <= 0 and clock >= state.clock - state.ttl - GRACE then break end
    members[#members + 1] = found[at]
    last, spare = clock, spare - 1
  end
  for first = 1, #members, 1000 do
    redis.call('ZREM', ledger, unpack(members, first, math.min(#members, first + 999)))
  end
  if last > state.floor then redis.call('ZADD', ledger, -last, 'floor') end
end

-- Tells those who keep copies, and where the ledger stands. Where that is not allowed, they find out when they ask.
local function tell(channel, state, message)
  if channel ~= '' then redis.pcall('PUBLISH', channel, text(state.epoch) .. '.' .. text(state.clock) .. ' ' .. message) end
end

-- Ends a lease of that holder, and tells the nodes that wait for it.
local function settle(lease, holder, channel, message)
  local fields = redis.call('HGETALL', lease)
  local nodes, isOurs = {}, false
  for at = 1, #fields, 2 do
    if fields[at] == 'holder' then isOurs = fields[at + 1] == holder end
    if string.sub(fields[at], 1, 5) == 'node:' then nodes[#nodes + 1] = string.sub(fields[at], 6) end
  end
  if not isOurs then return end
  redis.call('UNLINK', lease)
  for _, node in ipairs(nodes) do redis.pcall('PUBLISH', channel .. node, message) end
end
`

/**
 * The common look-up, in as few steps as it takes: a ledger that is in force, a frame with some tags or nothing. Gives nothing
 * where it is anything else: then `LOOKUP` says more. Keys: ledger, entry.
 */
export const GLANCE = whole(
  'glance',
  `
local frame = redis.pcall('GET', KEYS[2])
local info = redis.call('INFO', 'replication')
local at = string.find(info, 'master_replid:', 1, true)
local run = 'run:' .. string.sub(info, at + 14, at + 53)
if not string.find(info, 'role:master', 1, true) or string.find(info, 'min_slaves_good_slaves:0', 1, true) then
  return {}
end
if not frame then
  local found = redis.call('ZMSCORE', KEYS[1], run, 'epoch', 'clock')
  if not found[1] then return {} end
  return { false, 0, -found[3], string.format('%.0f', -found[2]) }
end
if type(frame) ~= 'string' or not string.find(frame, '^tgc[23]') then return {} end
local _, _, size, epoch, from = struct.unpack('<ddI4Bc0', frame, 9)
local tags = cmsgpack.unpack(string.sub(frame, from, from + size - 1))
if #tags > 1000 then return {} end
for at = 1, #tags do
  if type(tags[at]) ~= 'string' then return {} end
  tags[at] = ':' .. tags[at]
end
local found = redis.call('ZMSCORE', KEYS[1], run, 'epoch', 'clock', 'floor', 'everything', unpack(tags))
if not found[1] then return {} end
local now = string.format('%.0f', -found[2])
if now ~= epoch then return { false, 0, -found[3], now } end
local floor, last = -found[4], -found[5]
for at = 6, #found do
  local clock = tonumber(found[at]) or floor
  if clock > last then last = clock end
end
return { frame, last, -found[3], epoch }
`,
)

/** Ends an epoch, so that a ledger is begun anew and nothing of it counts any more. Keys: ledger. Arguments: its epoch. */
export const RENOUNCE = script(
  'renounce',
  `
local epoch = redis.call('ZSCORE', KEYS[1], 'epoch')
if epoch and text(-epoch) == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 1
`,
)

/** Keys: ledger, entry. Arguments: fresh epoch. */
export const LOOKUP = script(
  'lookup',
  `
local frame = redis.pcall('GET', KEYS[2])
local state = open(KEYS[1], ARGV[1])
local seen = peek(frame)
local last = 0
if seen then
  if seen.epoch ~= text(state.epoch) then frame = false else last = latest(KEYS[1], state, seen.tags) end
elseif type(frame) == 'table' then
  frame = frame.err
end
return { frame, last, state.clock, text(state.epoch) }
`,
)

/** The same, and takes the lease where no entry is valid and fresh. Keys: ledger, entry, lease. Arguments: fresh epoch, holder, milliseconds, node. */
export const LOOKUP_OR_LEASE = script(
  'lookupOrLease',
  `
local frame = redis.pcall('GET', KEYS[2])
local state = open(KEYS[1], ARGV[1])
local epoch = text(state.epoch)
local seen = peek(frame)
local last = 0
if seen then
  if seen.epoch ~= epoch then frame, seen = false, nil else last = latest(KEYS[1], state, seen.tags) end
elseif type(frame) == 'table' then
  frame = frame.err
end
local time = redis.call('TIME')
if seen and last <= seen.stamp and seen.fresh > time[1] * 1000 + time[2] / 1000 then
  return { frame, last, state.clock, epoch, 'none' }
end
local held = redis.call('HMGET', KEYS[3], 'holder', 'epoch', 'clock', 'tags')
if held[1] and held[2] == epoch then
  local isOvertaken = state.clock > tonumber(held[3])
  local tags = held[4] and texts(held[4])
  if isOvertaken and tags then isOvertaken = latest(KEYS[1], state, tags) > tonumber(held[3]) end
  if not isOvertaken then
    redis.call('HSET', KEYS[3], 'node:' .. ARGV[4], 1)
    return { frame, last, state.clock, epoch, 'held', redis.call('PTTL', KEYS[3]) }
  end
end
redis.call('HDEL', KEYS[3], 'tags')
redis.call('HSET', KEYS[3], 'holder', ARGV[2], 'epoch', epoch, 'clock', text(state.clock))
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return { frame, last, state.clock, epoch, 'taken' }
`,
)

/** Keeps a lease. Keys: ledger, lease. Arguments: holder, milliseconds, tags as MessagePack or nothing. */
export const HOLD = script(
  'hold',
  `
if redis.call('HGET', KEYS[2], 'holder') ~= ARGV[1] then return 0 end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'tags', ARGV[3]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
`,
)

/** Keys: ledger, lease. Arguments: holder, prefix of channels, message. */
export const RELEASE = script('release', `settle(KEYS[2], ARGV[1], ARGV[2], ARGV[3]) return 1`)

/** Keys: ledger. Arguments: fresh epoch, tags. Gives the latest invalidation, the clock and the epoch. */
export const LATEST = script(
  'latest',
  `
local state = open(KEYS[1], ARGV[1])
return { latest(KEYS[1], state, from(ARGV, 2)), state.clock, text(state.epoch) }
`,
)

/** Keys: ledger. Arguments: fresh epoch, key, tags. Gives the latest invalidation, when the key was deleted or 0, and the epoch. */
export const CHECK = script(
  'check',
  `
local state = open(KEYS[1], ARGV[1])
return { latest(KEYS[1], state, from(ARGV, 3)), tonumber(redis.call('ZSCORE', KEYS[1], '-' .. ARGV[2]) or 0), text(state.epoch) }
`,
)

/**
 * Keys: ledger, entry, lease, what entry keys begin with, an index for each tag that is listed.
 * Arguments: fresh epoch, epoch, stamp, milliseconds, frame, key, holder or nothing, prefix of channels, message, tags.
 */
export const STORE = script(
  'store',
  `
local state = open(KEYS[1], ARGV[1])
local isKept = text(state.epoch) == ARGV[2] and latest(KEYS[1], state, from(ARGV, 10)) <= tonumber(ARGV[3])
if isKept then
  local ttl = tonumber(ARGV[4])
  redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[4])
  if ttl * 1000 > state.ttl then redis.call('ZADD', KEYS[1], -ttl * 1000, 'ttl') end
  local time = redis.call('TIME')
  for at = 5, #KEYS do
    -- Whatever is wrong with an index costs its list, not the entry.
    redis.pcall('ZADD', KEYS[at], time[1] * 1000000 + time[2], ARGV[6])
    if redis.call('PTTL', KEYS[at]) < ttl then redis.call('PEXPIRE', KEYS[at], ARGV[4]) end
    for _, member in ipairs(redis.pcall('ZRANGE', KEYS[at], 0, 1)) do
      if redis.pcall('EXISTS', KEYS[4] .. member) == 0 then redis.call('ZREM', KEYS[at], member) end
    end
  end
end
if ARGV[7] ~= '' then settle(KEYS[3], ARGV[7], ARGV[8], ARGV[9]) end
return isKept and 1 or 0
`,
)

/**
 * Keys: ledger alone, so that it is taken also while its slot is on its way to another master. Arguments: fresh epoch, most members,
 * channel or nothing, names as JSON, tags. Gives the clock and the epoch. What lists the entries goes too, where it lies here.
 */
export const INVALIDATE = script(
  'invalidate',
  `
local state = open(KEYS[1], ARGV[1])
advance(KEYS[1], state)
local indexes = string.sub(KEYS[1], 1, -#'ledger' - 1) .. 'index:'
for at = 5, #ARGV do
  redis.call('ZADD', KEYS[1], state.clock, ':' .. ARGV[at])
  redis.pcall('UNLINK', indexes .. ARGV[at])
end
prune(KEYS[1], state, tonumber(ARGV[2]))
tell(ARGV[3], state, ARGV[4])
return { state.clock, text(state.epoch) }
`,
)

/** Keys: ledger. Arguments: fresh epoch, channel or nothing, message. Gives the clock and the epoch. */
export const CLEAR = script(
  'clear',
  `
local state = open(KEYS[1], ARGV[1])
local run = reign()
advance(KEYS[1], state)
redis.call('UNLINK', KEYS[1])
redis.call('ZADD', KEYS[1], -1, run, -state.epoch, 'epoch', -state.clock, 'clock', -state.clock, 'floor',
  -state.clock, 'everything', -state.began, 'began', 0, 'ttl')
tell(ARGV[2], state, ARGV[3])
return { state.clock, text(state.epoch) }
`,
)

/** Keys: ledger, and the entry where it lies here. Arguments: fresh epoch, most members, channel or nothing, message, key. Gives whether it was there, the clock and the epoch. Those who keep copies are told. */
export const DELETE = script(
  'delete',
  `
local state = open(KEYS[1], ARGV[1])
advance(KEYS[1], state)
redis.call('ZADD', KEYS[1], state.clock, '-' .. ARGV[5])
prune(KEYS[1], state, tonumber(ARGV[2]))
-- Last, so that nothing is gone that could not be told.
local deleted = KEYS[2] and redis.call('UNLINK', KEYS[2]) or 0
tell(ARGV[3], state, ARGV[4])
return { deleted, state.clock, text(state.epoch) }
`,
)

/**
 * Keys: ledger. Arguments: fresh epoch, epoch, clock, most names. Gives epoch and clock now, and the names of what was
 * invalidated or deleted since, each with its clock; no names where not all of it is known.
 */
export const CHANGES = script(
  'changes',
  `
local state = open(KEYS[1], ARGV[1])
local epoch, since, most = text(state.epoch), tonumber(ARGV[3]), tonumber(ARGV[4])
if epoch ~= ARGV[2] or since > state.clock or state.floor > since or state.everything > since then return { epoch, state.clock } end
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[3], '+inf', 'WITHSCORES', 'LIMIT', 0, most + 1)
if #names > most * 2 then return { epoch, state.clock } end
return { epoch, state.clock, names }
`,
)

/** Keys: ledger, index, what entry keys begin with. Arguments: fresh epoch, tag, most entries. Gives clock, epoch, and of each entry frame, latest invalidation and place. */
export const LIST = script(
  'list',
  `
local state = open(KEYS[1], ARGV[1])
local epoch, most, given = text(state.epoch), tonumber(ARGV[3]), {}
local members = redis.call('ZREVRANGE', KEYS[2], 0, math.min(most * 2 + 100, 1000), 'WITHSCORES')
for at = 1, #members, 2 do
  if #given >= most then break end
  local frame = redis.pcall('GET', KEYS[3] .. members[at])
  local seen, isTagged = peek(frame), false
  if seen and seen.epoch == epoch then
    for _, tag in ipairs(seen.tags) do isTagged = isTagged or tag == ARGV[2] end
  end
  if isTagged then given[#given + 1] = { frame, latest(KEYS[1], state, seen.tags), members[at + 1] }
  elseif type(frame) ~= 'table' then redis.call('ZREM', KEYS[2], members[at]) end
end
return { state.clock, epoch, given }
`,
)

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** Leaves a notice. Keys: board, notice. Arguments: id, text, milliseconds. Those who are not there any more leave the list. */
export const POST = whole(
  'post',
  `${NOW}
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
`,
)

/** Keys: board, what notices begin with. Gives ids and texts in turn, of a thousand at the most; no text where it is longer than any process has, or would be too much. */
export const NOTICES = whole(
  'notices',
  `${NOW}
local LONGEST, MOST = 2 * 1024 * 1024, 32 * 1024 * 1024
local given, length = {}, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'LIMIT', 0, 1000)) do
  local text = redis.call('GET', KEYS[2] .. id)
  if text then
    local isGiven = #text <= LONGEST and length + #text <= MOST
    if isGiven then length = length + #text end
    given[#given + 1] = id
    given[#given + 1] = isGiven and text or ''
  end
end
return given
`,
)

/** A part of the names of one kind that lie on this master. Keys: ledger, what they begin with. Arguments: cursor, pattern, how many keys to look at. Gives the next cursor, and names. */
export const SCAN = whole(
  'scan',
  `
local seen = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local names = {}
for at, key in ipairs(seen[2]) do names[at] = string.sub(key, #KEYS[2] + 1) end
return { seen[1], names }
`,
)

/** Keys: ledger, what indexes begin with. Arguments: tags. Gives when the ledger began, and of each tag how many entries are listed and its last invalidation. */
export const COUNT = whole(
  'count',
  `
local found = {}
for at, tag in ipairs(ARGV) do
  local listed = redis.pcall('ZCARD', KEYS[2] .. tag)
  found[at] = { type(listed) == 'number' and listed or 0, redis.call('ZSCORE', KEYS[1], ':' .. tag) or false }
end
return { redis.call('ZSCORE', KEYS[1], 'began') or false, found }
`,
)

function script(name: string, body: string): Script {
  return whole(name, `${PRELUDE}${body}`)
}

function whole(name: string, text: string): Script {
  return { name, text, sha: createHash('sha1').update(text).digest('hex') }
}
