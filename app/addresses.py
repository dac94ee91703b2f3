"""Which addresses a stranger's URL may lead to.  Pure: names are looked up elsewhere.

Webhook addresses are typed by merchants and connected to from inside the operator's network, so
whatever is not the public internet is refused, in every spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from app.errors import InvalidRequest

URL_MAX_CHARS = 2048

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# So narrow that two parsers cannot disagree: no userinfo, no backslash, no fragment, ASCII alone.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/[a-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[a-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII | re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)

# What is not the public internet.  Source: IANA special-purpose address registries, RFC 6890.
_PRIVATE_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT; 100.100.100.200 is Alibaba Cloud's metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number, but Azure's own host answers there
        "169.254.0.0/16",  # link-local; .169.254 is the other clouds' metadata service
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# IPv6 is public only inside 2000::/3.  That leaves out loopback, unique local, link- and site-local,
# multicast, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), SRv6 (5f00::/16) and IPv4-compatible addresses.
_GLOBAL_V6 = IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo tunnels to any IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 tunnels to any IPv4 address
        "3fff::/20",  # documentation
    )
)


@dataclass(frozen=True, slots=True)
class Guard:
    """Where strangers' addresses may lead.  Pure.

    ``allowed`` are networks reachable although they are not public, and the only ones where ``public``
    is False; empty ``ports`` means any.
    ``check_url`` is for the person who types the address; ``permits`` is the wall, asked with the
    very address that is about to be connected to, so that no name and no spelling gets around it.
    """

    allowed: tuple[Network, ...] = ()
    https_only: bool = True
    ports: frozenset[int] = frozenset({443, 8443})
    public: bool = True

    def permits(self, address: Address) -> bool:
        """Whether a connection to this address may be opened."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self.allowed):
            return True
        if not self.public:
            return False
        if isinstance(address, IPv4Address):
            return not any(address in network for network in _PRIVATE_V4)
        return address in _GLOBAL_V6 and not any(address in network for network in _PRIVATE_V6)

    def is_own(self, host: str) -> bool:
        """Whether a host is spelled as an address in one of the allowed networks."""
        try:
            literal = _literal_address(host)
        except InvalidRequest:
            return False
        return literal is not None and any(literal in network for network in self.allowed)

    def check_url(self, url: str) -> None:
        """Raises InvalidRequest (param ``url``) unless a webhook may be sent there."""
        if len(url) > URL_MAX_CHARS:
            raise _bad_url(f"must be at most {URL_MAX_CHARS} characters")
        scheme, host, port = split_url(url)
        if self.https_only and scheme != "https":
            raise _bad_url("must begin with https://")
        if self.ports and port not in self.ports:
            raise _bad_url(f"port must be one of {', '.join(map(str, sorted(self.ports)))}")
        literal = _literal_address(host)
        if literal is not None and not self.permits(literal):
            raise _bad_url(
                "must be an address on the public internet" if self.public else "must be an address nearby"
            )


# This machine and the networks that people have at home and at work.  Not ``is_private``, which holds
# more: the clouds' metadata services, for one.  Sources: RFC 1918, RFC 4193.
NEARBY = Guard(
    (
        IPv4Network("127.0.0.0/8"),
        IPv4Network("10.0.0.0/8"),
        IPv4Network("172.16.0.0/12"),
        IPv4Network("192.168.0.0/16"),
        IPv6Network("::1/128"),
        IPv6Network("fc00::/7"),
    ),
    https_only=False,
    ports=frozenset(),
    public=False,
)


def split_url(url: str) -> tuple[str, str, int]:
    """``"https://Shop.example./hook" -> ("https", "shop.example", 443)``.  Raises InvalidRequest."""
    match = _URL.fullmatch(url)
    if match is None:
        raise _bad_url("must be http(s)://host/path in ASCII, without user name or fragment")
    scheme, host = match["scheme"].lower(), match["host"].lower().removesuffix(".")
    is_named = not host.startswith("[")
    if is_named and (len(host) > 253 or not all(map(_LABEL.fullmatch, host.split(".")))):
        raise _bad_url("has no valid host name")
    port = int(match["port"] or (443 if scheme == "https" else 80))
    if not 0 < port < 65536:
        raise _bad_url("has no valid port")
    return scheme, host, port


def _literal_address(host: str) -> Address | None:
    """The address a host spells out, None if it is a name to be looked up.  Raises InvalidRequest."""
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    last = host.rpartition(".")[2]
    if not (host.startswith("[") or last.isdigit() or last.startswith("0x")):
        return None
    try:
        return ip_address(host.strip("[]"))
    except ValueError:  # 127.1, 0177.0.0.1, 2130706433: spellings that only C libraries understand
        raise _bad_url("has an address in an unusual spelling") from None


def _bad_url(fact: str) -> InvalidRequest:
    return InvalidRequest(fact, code="url_invalid", param="url")
