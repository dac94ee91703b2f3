"""The same token buckets, counted at a Redis for all processes and machines together.

While the Redis is away each process counts for itself again: a limit that nobody can ask about must not
stop a payment.  Nothing else is kept there, and nothing is lost with it.
"""

from __future__ import annotations

import time

import redis
import structlog

from app.rates import Buckets, MakeCounts, Verdict, verdict_of

ANSWER_S = 0.05  # a call of the API waits no longer for it
AGAIN_S = 1.0  # after no answer

log = structlog.get_logger(__name__)

# The server's clock counts, so that no machine's own matters.  A full bucket needs no row.
_TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local per_s, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(held[1]) or burst, tonumber(held[2]) or now
level = math.min(burst, level + math.max(0, now - at) * per_s)
local allowed = level >= 1
if wanted == 1 then
  if allowed then level = level - 1 end
  redis.call('HSET', KEYS[1], 'level', level, 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil((burst - level) / per_s * 1000) + 1000)
end
return {allowed and 1 or 0, tostring(level)}
"""


class SharedBuckets:
    """One class of calls, counted at a Redis.  Implements ``Counts``; shared by all threads."""

    def __init__(self, server: redis.Redis, name: str, per_s: float, burst: int) -> None:
        self._server, self._name, self._per_s, self._burst = server, name, per_s, burst
        self._script = server.register_script(_TAKE)
        self._here = Buckets(per_s, burst)
        self._away_until_s = 0.0

    def take(self, who: str) -> Verdict:
        """Let ``who`` call once, if there is a token left."""
        return self._judge(who, 1) or self._here.take(who)

    def look(self, who: str) -> Verdict:
        """What ``take`` would say, without taking."""
        return self._judge(who, 0) or self._here.look(who)

    def _judge(self, who: str, wanted: int) -> Verdict | None:
        if time.monotonic() < self._away_until_s:
            return None
        try:
            allowed, level = self._script(
                [f"mafu:rate:{self._name}:{who}"], [self._per_s, self._burst, wanted]
            )
        except redis.RedisError as error:
            self._away_until_s = time.monotonic() + AGAIN_S
            log.warning("limits are counted here: Redis does not answer", error=type(error).__name__)
            return None
        return verdict_of(float(level), self._burst, self._per_s, allowed=bool(allowed))


def counted_at(url: str) -> MakeCounts:
    """Makes buckets that are counted at this Redis: ``redis://host:6379/0``."""
    server = redis.Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
    return lambda name, per_s, burst: SharedBuckets(server, name, per_s, burst)
