"""What Redis decides, each in one atomic script. Times are Redis' own, so that replicas need not agree on the clock.

Keys (each script declares one and finds the rest through it: one Redis, or one slot for all of them):

- ``oc:token:<lookup>``: a proven token's verdict, a hash. ``until`` (ms) is how long its status may be believed;
  without it the proof still holds.
- ``oc:rate:<customer>``: when the bucket is full again, in microseconds.
- ``oc:quota:<box>:<period>``: a hash. ``base`` is what Postgres has as usage (tokens), ``open`` the sum of the fields
  ``o:<request id>``, each ``<tokens>:<believed until, ms>``: calls that are under way, or over and not in ``base`` yet.
  A field leaves only when Postgres was asked (``APPLY``), so that no token is ever in neither.
"""

from __future__ import annotations

from proxy.lines import Script

_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
_AMOUNT = "local function amount(held) return held and tonumber(string.match(held, '^%d+')) or 0 end\n"

RESERVE = Script(
    _NOW
    + """
local rid, input, cap, floor = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local v = redis.call('HMGET', KEYS[1], 'box', 'ok', 'limit', 'period', 'customer', 'until', 'told')
if not v[1] then return {'unknown'} end
if not v[6] or tonumber(v[6]) < now then return {'stale'} end
if v[2] ~= '1' then return {'stopped'} end
if ARGV[5] == '1' then
  local key, us = 'oc:rate:' .. v[5], t[1] * 1000000 + t[2]
  local step = math.floor(1000000 / ARGV[6])
  local full = math.max(tonumber(redis.call('GET', key) or '0'), us)
  local wait = full + step - step * ARGV[7] - us
  if wait > 0 then return {'rate', v[7], math.ceil(wait / 1000)} end
  redis.call('SET', key, string.format('%.0f', full + step), 'PX', math.ceil((full + step - us) / 1000) + 1)
end
local key = 'oc:quota:' .. v[1] .. ':' .. v[4]
local q = redis.call('HMGET', key, 'base', 'open', 'at', 'dirty')
if not q[1] or q[4] then return {'load', v[7]} end
local used, limit = q[1] + q[2], tonumber(v[3])
local free = limit - used
if free < input + floor then return {'short', v[7], free, now - q[3]} end
local grant = math.min(cap, free - input)
redis.call('HSET', key, 'o:' .. rid, (input + grant) .. ':' .. (now + ARGV[8]))
redis.call('HINCRBY', key, 'open', input + grant)
return {'granted', v[7], grant, used, now - q[3]}
"""
)
"""Key: the token's. Arguments: request id, input bound, output cap, the least output worth a call, whether the rate
counts, rate a second, burst, lease (ms). Returns a word and what belongs to it; ``granted``: how much output."""

SETTLE = Script(
    _NOW
    + _AMOUNT
    + """
if redis.call('HEXISTS', KEYS[1], 'base') == 0 then return 0 end
local name = 'o:' .. ARGV[1]
local was = amount(redis.call('HGET', KEYS[1], name))
redis.call('HSET', KEYS[1], name, ARGV[2] .. ':' .. (now + ARGV[3]))
redis.call('HINCRBY', KEYS[1], 'open', ARGV[2] - was)
return 1
"""
)
"""Key: the quota's. Arguments: request id, tokens, lease (ms). The call counts for so much from now on: what it used,
or, while it goes on, what it holds; 0 gives it back."""

TICKET = Script("""
local ticket = redis.call('HINCRBY', KEYS[1], 'ticket', 1)
redis.call('EXPIRE', KEYS[1], 259200)
return {ticket, redis.call('HKEYS', KEYS[1])}
""")
"""Key: the quota's. Before Postgres is asked: only who drew the last ticket may tell what it said."""

APPLY = Script(
    _NOW
    + _AMOUNT
    + """
local key = KEYS[1]
if redis.call('HGET', key, 'ticket') ~= ARGV[1] then return 0 end
local at, sum = 4, 0
for _ = 1, ARGV[3] do redis.call('HDEL', key, 'o:' .. ARGV[at]) at = at + 1 end
local unknown = tonumber(ARGV[at])
at = at + 1
for _ = 1, unknown do
  local held = redis.call('HGET', key, 'o:' .. ARGV[at])
  if held and tonumber(string.match(held, ':(%d+)$')) < now then redis.call('HDEL', key, 'o:' .. ARGV[at]) end
  at = at + 1
end
while at < #ARGV do
  redis.call('HSETNX', key, 'o:' .. ARGV[at], ARGV[at + 1] .. ':0')
  at = at + 2
end
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'o:' then sum = sum + amount(all[i + 1]) end
end
redis.call('HSET', key, 'base', ARGV[2], 'open', sum, 'at', now)
redis.call('HDEL', key, 'dirty')
redis.call('EXPIRE', key, 259200)
return 1
"""
)
"""Key: the quota's. Arguments: ticket, base, then with their counts the calls that are usage now and those that
Postgres does not know (they leave once nobody renews them), then pairs of open calls and what they hold."""

LEARN = Script(
    _NOW
    + """
redis.call('HSET', KEYS[1], 'until', now + ARGV[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
)
"""Key: the token's. Arguments: how long its status may be believed (ms), how long its proof (s), fields and values."""

DOUBT = Script("""
if redis.call('HEXISTS', KEYS[1], 'base') == 1 then redis.call('HSET', KEYS[1], 'dirty', 1) end
return 1
""")
"""Key: the quota's. Nothing more is granted before Postgres was asked."""

STATUS = Script(
    _NOW
    + """
local v = redis.call('HMGET', KEYS[1], 'box', 'ok', 'until', 'told')
if not v[1] then return {'unknown'} end
if not v[3] or tonumber(v[3]) < now then return {'stale'} end
return {v[2] == '1' and 'ok' or 'stopped', v[4]}
"""
)
"""Key: the token's. The verdict alone."""
