"""How much all merchants together may send to one host, so that our sender is nobody's cannon.

A merchant has few endpoints, but there may be many merchants, and nobody asks a host whether it wants
to be theirs.  Counted in this process's memory; what is too much is put back into the queue, spread over
the time in which its turn will come.  Hosts in the operator's own networks are the operator's business.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from functools import lru_cache

from app.addresses import Guard, split_url
from app.rates import BURST_S, Buckets

_KEPT = 10_000


class HostPace:
    """``per_s`` messages a second to each host, and a burst of two seconds' worth.  One thread's own."""

    def __init__(self, guard: Guard, per_s: int) -> None:
        self._guard, self._per_s = guard, per_s
        self._buckets = Buckets(per_s, per_s * BURST_S)
        self._behind: OrderedDict[str, int] = OrderedDict()  # put back and not seen again, by host

    def wait_s(self, url: str) -> float:
        """0.0 if one more may go there now; else after how many seconds to ask again."""
        host = host_of(url)
        if self._guard.is_own(host):
            return 0.0
        behind = self._behind.pop(host, 0)
        is_admitted = self._buckets.take(host).allowed
        self._behind[host] = behind = max(0, behind - 1) if is_admitted else behind + 1
        if not behind:
            del self._behind[host]
        elif len(self._behind) > _KEPT:
            self._behind.popitem(last=False)
        return 0.0 if is_admitted else max(1.0, behind / self._per_s) * random.uniform(0.5, 1.5)


@lru_cache(maxsize=1000)
def host_of(url: str) -> str:
    """``"https://Shop.example:8443/hook" -> "shop.example"``.  Pure."""
    return split_url(url)[1]
