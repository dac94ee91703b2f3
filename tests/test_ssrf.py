"""A merchant's address never leads inside: a corpus of spellings, liars and bombs against the real wire.

Sockets are counted where they are opened (``app.http`` alone opens them for a guarded exchange), and
connections where they would arrive.  The public internet is played by 127.0.0.2, the only address that the
guard allows here; everything else on loopback is what must not be reached.
"""

from __future__ import annotations

import datetime as dt
import gzip
import resource
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import SimpleNamespace

import pycurl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app import http
from app.addresses import _PRIVATE_V4, _PRIVATE_V6, Guard
from app.errors import InvalidRequest
from app.http import POST_ANSWER_MAX_BYTES, REFUSED, Client, Post, Sender, Sent, _Exchange
from tests.far_corners import (
    OK,
    Listener,
    goes_on,
    is_silent,
    listening,
    proxying,
    resolving,
    says,
)
from tests.webhooks.receiver import receiving

OPEN = Guard(https_only=False, ports=frozenset())
OUTSIDE = "127.0.0.2"
ONE_OUTSIDE = Guard((ip_network(f"{OUTSIDE}/32"),), https_only=False, ports=frozenset())
LOOPBACK = Guard((ip_network("127.0.0.0/8"),), https_only=False, ports=frozenset())

NO_URL = "the exchange failed (libcurl 3)"  # libcurl itself does not take the spelling
# Not in libcurl's Python names: whether the resolver's own certificate is checked.  Source: curl/curl.h
_DOH_VERIFY_PEER, _DOH_VERIFY_HOST = 306, 307

KNOWN = """
127.0.0.1 127.0.0.53 127.1.2.3 0.0.0.0 10.0.0.1 10.96.0.1 10.96.0.10 10.255.255.254 172.17.0.1 172.31.255.254
192.168.0.1 192.168.1.1 192.168.99.100 169.254.169.254 169.254.169.253 169.254.169.123 169.254.170.2
169.254.170.23 100.100.100.200 100.100.2.136 168.63.129.16 192.0.0.192 224.0.0.251 239.255.255.250
255.255.255.255 ::1 :: fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fe80::1 fe80::a9fe:a9fe fec0::1 ff02::1
::ffff:0:127.0.0.1 ::127.0.0.1 ::10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::a00:1 2002:7f00:1::
2002:a9fe:a9fe::1 2001:0:7f00:1:: 100::1 4000::1 5f00::1 8000::1 e000::1 fc00::1
""".split()


def corpus() -> list[IPv4Address | IPv6Address]:
    """The well-known ones, and five of each forbidden network: its edges, their neighbours, its middle."""
    found = [ip_address(text) for text in KNOWN]
    for network in (*_PRIVATE_V4, *_PRIVATE_V6, ip_network("fc00::/7"), ip_network("fe80::/10")):
        size = network.num_addresses
        found += [network[place % size] for place in (0, 1, size // 2, size - 2, size - 1)]
    mapped = [IPv6Address(f"::ffff:{one}") for one in found if isinstance(one, IPv4Address)]
    return list(dict.fromkeys([*found, *mapped]))


CORPUS = corpus()

Spelling = Callable[[IPv4Address], str]


def parts(address: IPv4Address) -> list[int]:
    return list(address.packed)


# As C libraries, browsers and languages read them; True where libcurl or the system sees a number.
V4_SPELLINGS: dict[str, tuple[Spelling, bool]] = {
    "dotted": (str, True),
    "decimal": (lambda a: str(int(a)), True),
    "hex": (lambda a: hex(int(a)), True),
    "capital hex": (lambda a: f"0X{int(a):08X}", True),
    "octal": (lambda a: f"0{int(a):o}", True),
    "octal parts": (lambda a: ".".join(f"0{part:o}" for part in parts(a)), True),
    "long octal parts": (lambda a: ".".join(f"000000{part:o}" for part in parts(a)), True),
    "hex parts": (lambda a: ".".join(hex(part) for part in parts(a)), True),
    "mixed": (lambda a: "{}.0{:o}.{:#x}.{}".format(*parts(a)), True),
    "two parts": (lambda a: f"{parts(a)[0]}.{int(a) & 0xFFFFFF}", True),
    "three parts": (lambda a: f"{parts(a)[0]}.{parts(a)[1]}.{int(a) & 0xFFFF}", True),
    "mapped": (lambda a: f"[::ffff:{a}]", True),
    "mapped in hex": (lambda a: f"[::ffff:{int(a) >> 16:x}:{int(a) & 0xFFFF:x}]", True),
    "mapped at length": (lambda a: f"[{IPv6Address(f'::ffff:{a}').exploded}]", True),
    "compatible": (lambda a: f"[::{a}]", True),
    "translated": (lambda a: f"[64:ff9b::{a}]", True),
    "tunnelled": (lambda a: f"[2002:{int(a) >> 16:x}:{int(a) & 0xFFFF:x}::1]", True),
    "padded": (lambda a: ".".join(f"{part:03d}" for part in parts(a)), False),
    "one part too many": (lambda a: f"{a}.0", False),
    "full-width": (lambda a: str(a).translate(FULL_WIDTH), False),
    "circled": (lambda a: str(a).translate(CIRCLED), False),
    "ideographic stops": (lambda a: str(a).replace(".", "。"), False),
    "half-width stops": (lambda a: str(a).replace(".", "\uff61"), False),
    "other digits": (lambda a: str(a).translate(ARABIC), False),
    "percent": (lambda a: "".join(f"%{ord(letter):02x}" for letter in str(a)), False),
    "user name": (lambda a: f"shop.example@{a}", False),
    "user and password": (lambda a: f"shop.example:443@{a}", False),
    "backslash": (lambda a: f"shop.example\\@{a}", False),
    "fragment": (lambda a: f"{a}#@shop.example", False),
    "tab": (lambda a: f"{str(a)[:2]}\t{str(a)[2:]}", False),
    "null": (lambda a: f"{a}\0.shop.example", False),
    "in brackets": (lambda a: f"[{a}]", False),
}
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９．")
CIRCLED = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")

V6_SPELLINGS: dict[str, tuple[Callable[[IPv6Address], str], bool]] = {
    "short": (lambda a: f"[{a}]", True),
    "long": (lambda a: f"[{a.exploded}]", True),
    "capitals": (lambda a: f"[{a.exploded.upper()}]", True),
    "dotted end": (lambda a: f"[{':'.join(a.exploded.split(':')[:6])}:{IPv4Address(a.packed[12:])}]", True),
    "with a zone": (lambda a: f"[{a}%25lo]", False),
    "bare": (lambda a: a.exploded, False),
    "user name": (lambda a: f"shop.example@[{a}]", False),
}


def spellings(*, numbers_only: bool) -> list[str]:
    found = []
    for address in CORPUS:
        table = V4_SPELLINGS if isinstance(address, IPv4Address) else V6_SPELLINGS
        found += [write(address) for write, is_number in table.values() if is_number or not numbers_only]
    return found


def test_the_corpus_is_as_large_as_it_says():
    assert len(CORPUS) >= 200
    assert len(spellings(numbers_only=False)) >= 200 * 7


@pytest.fixture
def sockets(monkeypatch) -> list[tuple]:
    """Every socket that a guarded exchange opens from here on."""
    opened: list[tuple] = []

    def open_one(*kind):
        opened.append(kind)
        return socket.socket(*kind)

    monkeypatch.setattr(http, "socket", SimpleNamespace(socket=open_one))
    return opened


@pytest.fixture
def inside() -> Iterator[Listener]:
    """What must not be reached."""
    with listening(says(OK)) as found:
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> str:
    """For the resolver: self-signed, key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "resolver")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("resolver") / "resolver.pem"
    path.write_bytes(secret + made.public_bytes(pem))
    return str(path)


class TestSpellings:
    def test_none_is_accepted_from_the_person_who_types_it(self):
        accepted = []
        for host in spellings(numbers_only=False):
            try:
                OPEN.check_url(f"http://{host}/hook")
                accepted.append(host)
            except InvalidRequest:
                pass
        assert accepted == []

    def test_none_makes_the_sender_open_a_socket(self, sockets):
        sender = Sender(OPEN, slots=1)
        for number, host in enumerate(spellings(numbers_only=False)):
            sender.start(Post(str(number), f"http://{host}/hook", {}, b"{}"))
        sent = sender.finished()
        sender.close()
        assert len(sent) == len(spellings(numbers_only=False))
        assert [one.key for one in sent if one.error is None or one.status] == []
        assert sockets == []

    def test_none_gets_past_the_wall_itself(self, sockets, inside):
        """The check of the text is skipped: libcurl and the system read the spelling, and the wall judges."""
        exchange, through, reasons = _Exchange(OPEN), [], set()
        for host in spellings(numbers_only=True):
            exchange.load("POST", f"http://{host}:{inside.port}/hook", [], b"{}", 2.0, 1000)
            try:
                exchange.curl.perform()
                through.append(host)
            except pycurl.error as error:
                reasons.add(exchange.reason(int(error.args[0])))
        assert reasons <= {REFUSED, NO_URL}
        assert through == []
        assert sockets == []
        assert inside.connections == 0

    def test_none_is_reached_by_a_name_that_leads_there(self, sockets, inside):
        """What the name server says is not believed, whatever the name looks like."""
        for address in CORPUS:
            exchange = _Exchange(OPEN)
            exchange.load("POST", f"http://shop.example:{inside.port}/hook", [], b"{}", 2.0, 1000)
            exchange.curl.setopt(pycurl.RESOLVE, [f"shop.example:{inside.port}:{address}"])
            with pytest.raises(pycurl.error):
                exchange.curl.perform()
            assert exchange.reason(0) == REFUSED, address
        assert sockets == []
        assert inside.connections == 0

    def test_a_public_address_is_let_through_so_the_corpus_is_refused_for_what_it_is(self):
        for text in ("8.8.8.8", "1.1.1.1", "223.5.5.5", "2400:3200::1"):
            assert OPEN.permits(ip_address(text))


SCHEMES = (
    "ftp ftps file gopher dict ldap ldaps smb tftp telnet ws wss imap pop3 smtp rtsp scp sftp mqtt jar data"
)
PORTS = (1, 22, 23, 25, 53, 80, 110, 143, 445, 2375, 3306, 5432, 6379, 8080, 9200, 11211, 27017, 65535)


class TestSchemesAndPorts:
    @pytest.mark.parametrize("scheme", SCHEMES.split())
    def test_only_http_is_spoken(self, scheme, sockets, inside):
        url = f"{scheme}://127.0.0.1:{inside.port}/x"
        with pytest.raises(InvalidRequest):
            LOOPBACK.check_url(url)
        exchange = _Exchange(LOOPBACK)
        exchange.load("POST", url, [], b"{}", 2.0, 1000)
        with pytest.raises(pycurl.error):
            exchange.curl.perform()
        assert (sockets, inside.connections) == ([], 0)

    @pytest.mark.parametrize("port", PORTS)
    def test_live_rules_reach_no_port_of_another_service(self, port):
        with pytest.raises(InvalidRequest, match="port must be one of 443, 8443"):
            Guard().check_url(f"https://shop.example:{port}/")


class TestLyingResolver:
    def test_a_name_that_rebinds_is_only_ever_reached_outside(self, inside, certificate):
        """The answer flips with each lookup; the address that was judged is the one that is connected to."""
        with (
            listening(says(OK), host=OUTSIDE, port=inside.port) as outside,
            resolving([[OUTSIDE], ["127.0.0.1"]], certificate) as resolver,
        ):
            sent = [self.post(resolver.url, inside.port, certificate) for _ in range(20)]
        assert inside.connections == 0
        assert resolver.asked == 20
        assert [one.error for one in sent] == [None, REFUSED] * 10
        assert outside.connections == 10

    def test_an_answer_of_both_kinds_leads_outside_only(self, inside, certificate):
        mixed = [["127.0.0.1", OUTSIDE], [OUTSIDE, "127.0.0.1"], ["10.0.0.1", "169.254.169.254", OUTSIDE]]
        with (
            listening(says(OK), host=OUTSIDE, port=inside.port) as outside,
            resolving(mixed, certificate) as resolver,
        ):
            sent = [self.post(resolver.url, inside.port, certificate) for _ in mixed]
        assert [one.status for one in sent] == [200] * 3
        assert (inside.connections, outside.connections) == (0, 3)

    def test_a_dead_address_outside_does_not_open_the_door_inside(self, inside, certificate):
        with resolving([[OUTSIDE, "127.0.0.1", "127.0.0.3"]], certificate) as resolver:
            sent = self.post(resolver.url, inside.port, certificate)
        assert sent.status is None
        assert inside.connections == 0

    def post(self, resolver_url: str, port: int, certificate: str) -> Sent:
        sender = Sender(ONE_OUTSIDE, slots=1)
        ask(sender, resolver_url, certificate)
        [sent] = through(sender, Post("k", f"http://shop.example:{port}/hook", {}, b"{}", 5.0))
        sender.close()
        return sent


class TestRedirects:
    @pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
    @pytest.mark.parametrize(
        "to", ["http://127.0.0.1:{port}/x", "//127.0.0.1:{port}/x", "gopher://127.0.0.1:{port}/"]
    )
    def test_no_redirect_is_followed_and_no_body_is_sent_again(self, status, to, inside):
        location = to.format(port=inside.port).encode()
        answer = b"HTTP/1.1 %d Go\r\nLocation: %s\r\nRefresh: 0; url=%s\r\n" % (status, location, location)
        with listening(says(answer + b"Content-Length: 0\r\n\r\n")) as receiver:
            sender = Sender(LOOPBACK, slots=1)
            [sent] = through(sender, Post("k", f"http://127.0.0.1:{receiver.port}/", {}, b"{}", 5.0))
            sender.close()
            assert (
                Client(LOOPBACK).send("POST", f"http://127.0.0.1:{receiver.port}/", body=b"{}").status
                == status
            )
        assert (sent.status, sent.error) == (status, None)
        assert inside.connections == 0


HEAD = b"HTTP/1.1 200 OK\r\n"
SLOW = {
    "says nothing": is_silent,
    "trickles the status line": goes_on(b"H", b"", 0.05),
    "trickles headers": goes_on(HEAD, b"X-A: b\r\n", 0.05),
    "trickles one header": goes_on(HEAD + b"X-A: ", b"b", 0.05),
    "trickles interim answers": goes_on(b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.05),
    "trickles the body": goes_on(HEAD + b"Content-Length: 99999\r\n\r\n", b"x", 0.05),
    "trickles chunks": goes_on(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
    "trickles a chunk's length": goes_on(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0", 0.05),
}


class TestSlowness:
    def test_a_slot_is_free_at_the_deadline_whatever_is_slow(self, certificate):
        """All stages at once, besides TLS that never begins and a name that is not found in time."""
        timeout_s = 0.5
        began_s = time.monotonic()
        with listening(is_silent) as silent, resolving([[OUTSIDE]], certificate, pause_s=2.0) as resolver:
            naming = Sender(ONE_OUTSIDE, slots=1)
            ask(naming, resolver.url, certificate)
            sent = through(naming, Post("name", "http://shop.example/", {}, b"{}", timeout_s))
            assert time.monotonic() - began_s < 1.5
            naming.close()

            sender = Sender(LOOPBACK, slots=len(SLOW) + 1)
            places = [listening(talk) for talk in SLOW.values()]
            receivers = [place.__enter__() for place in places]
            began_s = time.monotonic()
            posts = [
                Post(name, f"http://127.0.0.1:{receiver.port}/", {}, b"x" * 200_000, timeout_s)
                for name, receiver in zip(SLOW, receivers, strict=True)
            ]
            sent += through(
                sender, *posts, Post("tls", f"https://127.0.0.1:{silent.port}/", {}, b"{}", timeout_s)
            )
            took_s = time.monotonic() - began_s
            for place in places:
                place.__exit__(None, None, None)
        assert {one.key: one.error for one in sent} == dict.fromkeys([*SLOW, "tls", "name"], "timed out")
        assert took_s < timeout_s + 0.5
        assert sender.free == len(SLOW) + 1
        sender.close()


BOMB = gzip.compress(b"\0" * (16 << 20))
BOMBS = {
    "100,000 headers": (goes_on(HEAD + b"a:b\r\n" * 100_000, b"a:b\r\n" * 1000), 0),
    "one endless header": (goes_on(HEAD + b"X-A: ", b"b" * 65536), 0),
    "endless interim answers": (goes_on(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 1000), 0),
    "endless status line": (goes_on(b"HTTP/1.1 200 ", b"O" * 65536), 0),
    "endless body": (goes_on(HEAD + b"\r\n", b"x" * 65536), POST_ANSWER_MAX_BYTES),
    "endless chunks": (
        goes_on(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        POST_ANSWER_MAX_BYTES,
    ),
    "gzip bomb": (
        says(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(BOMB), BOMB)),
        min(len(BOMB), POST_ANSWER_MAX_BYTES),
    ),
}


class TestBombs:
    def test_little_is_read_nothing_is_unpacked_and_memory_stays_flat(self):
        sender = Sender(LOOPBACK, slots=len(BOMBS))
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        places = [listening(talk) for talk, _ in BOMBS.values()]
        receivers = [place.__enter__() for place in places]
        began_s = time.monotonic()
        sent = through(
            sender,
            *(
                Post(name, f"http://127.0.0.1:{receiver.port}/", {}, b"{}", 10.0)
                for name, receiver in zip(BOMBS, receivers, strict=True)
            ),
        )
        took_s = time.monotonic() - began_s
        for place in places:
            place.__exit__(None, None, None)
        sender.close()
        assert {one.key: len(one.head) for one in sent} == {name: size for name, (_, size) in BOMBS.items()}
        assert took_s < 5, "none of them was waited for"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 32 << 10


class TestProxy:
    @pytest.fixture
    def shop(self):
        with receiving() as found:
            yield found

    def test_a_webhook_goes_through_the_tunnel_and_the_proxy_looks_the_name_up(self, shop):
        with proxying(shop.port) as proxy:
            sender = Sender(OPEN, slots=1, proxy=proxy.url)
            [sent] = through(
                sender, Post("k", "http://shop.example:8080/ok", {"webhook-signature": "v1,x"}, b'{"a":1}')
            )
            sender.close()
        assert (sent.status, sent.error, sent.head) == (200, None, b"this is ok")
        assert [request.body for request in shop.requests] == [b'{"a":1}']
        [asked] = proxy.asked
        assert asked.startswith(b"CONNECT shop.example:8080 HTTP/1.1\r\n")
        assert b"signature" not in asked.lower(), "the proxy learns where to, and nothing of what"

    def test_an_address_or_spelling_that_is_refused_is_not_put_to_the_proxy(self, shop):
        with proxying(shop.port) as proxy:
            sender = Sender(OPEN, slots=1, proxy=proxy.url)
            for host in spellings(numbers_only=False)[::7]:
                sender.start(Post(host, f"http://{host}/ok", {}, b"{}"))
            assert {one.status for one in sender.finished()} == {None}
            sender.close()
        assert (proxy.asked, shop.connections) == ([], 0)

    def test_what_the_proxy_refuses_is_a_failure_that_says_so(self, shop):
        with proxying(shop.port, verdict=b"403 Forbidden") as proxy:
            sender = Sender(OPEN, slots=1, proxy=proxy.url)
            [sent] = through(sender, Post("k", "http://shop.example/ok", {}, b"{}"))
            sender.close()
        assert (sent.status, sent.error, sent.head) == (None, "the webhook proxy answered 403", b"")
        assert shop.connections == 0

    def test_a_proxy_that_is_away_is_never_gone_around(self, shop):
        with socket.socket() as placeholder:
            placeholder.bind(("127.0.0.1", 0))
            sender = Sender(LOOPBACK, slots=1, proxy=f"http://127.0.0.1:{placeholder.getsockname()[1]}")
            [sent] = through(sender, Post("k", shop.url("/ok"), {}, b"{}"))
            sender.close()
        assert (sent.status, sent.error) == (None, "no connection to the webhook proxy")
        assert shop.connections == 0

    def test_exceptions_in_the_environment_do_not_count(self, shop, monkeypatch):
        monkeypatch.setenv("no_proxy", "*")
        with proxying(shop.port) as proxy:
            sender = Sender(LOOPBACK, slots=1, proxy=proxy.url)
            [sent] = through(sender, Post("k", shop.url("/ok"), {}, b"{}"))
            sender.close()
        assert sent.status == 200
        assert len(proxy.asked) == 1

    def test_name_and_password_are_shown_to_the_proxy(self, shop):
        with proxying(shop.port) as proxy:
            sender = Sender(OPEN, slots=1, proxy=proxy.url.replace("//", "//mafu:pw@"))
            [sent] = through(sender, Post("k", "http://shop.example/ok", {}, b"{}"))
            sender.close()
        assert sent.status == 200
        assert b"proxy-authorization: basic bWFmdTpwdw==" in proxy.asked[0].replace(
            b"Proxy-Authorization: Basic", b"proxy-authorization: basic"
        )
        assert "proxy-authorization" not in shop.requests[0].headers


def ask(sender: Sender, resolver_url: str, certificate: str) -> None:
    """Let the sender's names be looked up there."""
    for exchange in sender._idle:
        exchange.curl.setopt(pycurl.DOH_URL, resolver_url)
        exchange.curl.setopt(_DOH_VERIFY_PEER, 0)
        exchange.curl.setopt(_DOH_VERIFY_HOST, 0)
        exchange.curl.setopt(pycurl.CAINFO, certificate)
        exchange.curl.setopt(pycurl.FORBID_REUSE, 1)
        exchange.curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)


def through(sender: Sender, *posts: Post) -> list[Sent]:
    """Send them side by side, and wait for all ends."""
    for post in posts:
        sender.start(post)
    sent: list[Sent] = []
    while len(sent) < len(posts):
        sent += sender.finished(0.1)
    return sent
