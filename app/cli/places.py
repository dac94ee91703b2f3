"""Where the house and its sandbox are reached: by us on this machine, and by a phone on the same network."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from app.config import LOOPBACK, Settings

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # what HOST may say, not what we bind unasked


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses without a slash at the end.  ``near`` is for this machine, the rest goes into links."""

    base_url: str
    sandbox_url: str
    near_base_url: str
    near_sandbox_url: str
    binds: tuple[str, ...]
    sandbox_binds: tuple[str, ...]


def places_of(settings: Settings) -> Places:
    """Read off the settings; HOST=0.0.0.0 shows this machine's address on its network in links."""
    everywhere = settings.host in _EVERYWHERE
    shown = lan_address() if everywhere else settings.host
    near = "127.0.0.1" if everywhere else settings.host
    # The sandbox is always on loopback as well: the demo's webhooks go there, and nowhere else near.
    also = () if everywhere or settings.host in LOOPBACK else ("127.0.0.1",)
    return Places(
        base_url=settings.base_url or f"http://{_bracketed(shown)}:{settings.port}",
        sandbox_url=f"http://{_bracketed(shown)}:{settings.sandbox_port}",
        near_base_url=f"http://{_bracketed(near)}:{settings.port}",
        near_sandbox_url=settings.sandbox_origin,
        binds=(f"{_bracketed(settings.host)}:{settings.port}",),
        sandbox_binds=tuple(f"{_bracketed(host)}:{settings.sandbox_port}" for host in (settings.host, *also)),
    )


def lan_address() -> str:
    """This machine's address on its network, 127.0.0.1 if it has none.  Nothing is sent.

    Connecting a UDP socket only makes the kernel choose a route; the address is one of TEST-NET-1.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:  # no route to anywhere: offline
            pass
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
    return "127.0.0.1" if address.startswith("127.") else address


def is_free(bind: str) -> bool:
    """Whether ``host:port`` can be listened on.  Raises OSError for a host that is not ours."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
