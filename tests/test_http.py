"""The way out, on a real wire: deadlines, limits, and what is never connected to."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pycurl
import pytest
from cryptography import x509

from app.addresses import Guard
from app.db import NestedTransaction, transaction
from app.errors import InvalidRequest, ProviderUnreachable
from app.http import POST_ANSWER_MAX_BYTES, REFUSED, Client, Post, Sender, _Exchange
from tests.certificates import write_certificate
from tests.webhooks.receiver import Receiver, receiving

LOOPBACK = Guard((ipaddress.ip_network("127.0.0.0/8"),), https_only=False, ports=frozenset())
PUBLIC_ONLY = Guard(https_only=False, ports=frozenset())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender(LOOPBACK, slots=4)
    yield sender
    sender.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> str:
    """A self-signed certificate for shop.example and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "shop.pem"
    return str(write_certificate(path, x509.DNSName("shop.example")))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def outcome(sender: Sender, url: str, timeout_s: float = 5.0, headers: dict[str, str] | None = None):
    """Send one post and wait for its end."""
    sender.start(Post("k", url, headers or {}, b"{}", timeout_s))
    while not (sent := sender.finished(0.5)):
        pass
    return sent[0]


class TestClient:
    def test_sends_method_headers_and_body_and_reads_the_answer(self, receiver):
        for method in ("POST", "PUT", "DELETE"):
            answer = Client().send(
                method, receiver.url("/ok?a=1"), headers={"X-Say": "hello"}, body=b"\x00\xff"
            )
            assert (answer.status, answer.body) == (200, b"this is ok")
            assert answer.headers["content-length"] == "10"
        assert [request.body for request in receiver.requests] == [b"\x00\xff"] * 3
        assert receiver.requests[0].headers["x-say"] == "hello"
        assert "content-type" not in receiver.requests[0].headers
        assert "expect" not in receiver.requests[0].headers

    def test_get_after_post_carries_nothing_over(self, receiver):
        client = Client()
        client.send(
            "POST", receiver.url("/ok"), headers={"X-Secret": "1", "Content-Type": "a/b"}, body=b"secret"
        )
        client.send("GET", receiver.url("/ok"))
        assert receiver.requests[1].body == b""
        assert "x-secret" not in receiver.requests[1].headers

    def test_connection_is_reused_within_a_thread(self, receiver):
        client = Client()
        for _ in range(5):
            client.send("POST", receiver.url("/ok"))
        assert receiver.connections == 1

    def test_threads_do_not_share_a_connection(self, receiver):
        client = Client()
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.send("POST", receiver.url("/ok")).status))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 4
        assert receiver.connections == 4

    def test_any_status_is_an_answer_and_a_redirect_is_not_followed(self, receiver):
        assert Client().send("GET", receiver.url("/fail")).status == 500
        answer = Client().send("GET", receiver.url("/to/inside"))
        assert (answer.status, answer.headers["location"]) == (302, receiver.url("/inside"))
        assert receiver.to("/inside") == []

    def test_interim_answer_leaves_no_headers_and_repeated_ones_are_joined(self, receiver):
        answer = Client().send("GET", receiver.url("/early"))
        assert (answer.status, answer.headers["x-twice"]) == (200, "a, b")
        assert "x-early" not in answer.headers

    @pytest.mark.parametrize("path", ["/slow", "/trickle"])
    def test_one_deadline_covers_headers_and_body(self, receiver, path):
        began = time.monotonic()
        with pytest.raises(ProviderUnreachable, match="timed out"):
            Client().send("GET", receiver.url(path), timeout_s=0.3)
        assert 0.25 < time.monotonic() - began < 1.0

    @pytest.mark.parametrize("path", ["/huge", "/headers"])
    def test_endless_answer_is_no_answer(self, receiver, path):
        with pytest.raises(ProviderUnreachable, match="too long"):
            Client().send("GET", receiver.url(path), answer_max_bytes=1000)

    def test_answer_of_exactly_the_limit_is_whole(self, receiver):
        assert Client().send("GET", receiver.url("/ok"), answer_max_bytes=10).body == b"this is ok"
        with pytest.raises(ProviderUnreachable):
            Client().send("GET", receiver.url("/ok"), answer_max_bytes=9)

    def test_nobody_there_is_unreachable_and_the_reason_names_only_the_host(self):
        with socket.socket() as placeholder:
            placeholder.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{placeholder.getsockname()[1]}/?token=s3cret"
            with pytest.raises(ProviderUnreachable) as caught:
                Client().send("GET", url)
        assert caught.value.detail == "127.0.0.1: no connection"

    def test_proxies_of_the_environment_are_ignored(self, receiver, monkeypatch):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert Client().send("GET", receiver.url("/ok")).status == 200

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("X-A", "b\r\nX-Evil: 1"),
            ("X-A", "b\nX-Evil: 1"),
            ("X-A", "b\x00"),
            ("X-A", "é"),
            ("X-A\r\nX-Evil", "1"),
            ("X A", "1"),
            ("", "1"),
            ("X:A", "1"),
        ],
    )
    def test_header_that_could_begin_another_is_refused(self, receiver, name, value):
        with pytest.raises(InvalidRequest):
            Client().send("GET", receiver.url("/ok"), headers={name: value})
        assert receiver.requests == []

    def test_empty_header_value_is_sent_as_such(self, receiver):
        Client().send("GET", receiver.url("/ok"), headers={"X-Empty": ""})
        assert receiver.requests[0].headers["x-empty"] == ""

    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://a@127.0.0.1/", "http://x/\r\n"]
    )
    def test_only_http_and_https_are_spoken(self, url):
        with pytest.raises(InvalidRequest):
            Client().send("GET", url)

    @pytest.mark.parametrize("method", ["HEAD", "TRACE", "get", "GET / HTTP/1.1\r\nX: y"])
    def test_unknown_method_is_refused(self, receiver, method):
        with pytest.raises(InvalidRequest):
            Client().send(method, receiver.url("/ok"))

    def test_network_is_refused_inside_a_transaction(self, app, receiver):
        sender = Sender(LOOPBACK, slots=1)
        with transaction(), pytest.raises(NestedTransaction):
            Client().send("GET", receiver.url("/ok"))
        with transaction(), pytest.raises(NestedTransaction):
            sender.start(Post("k", receiver.url("/ok"), {}, b""))
        sender.close()
        assert receiver.requests == []

    def test_forked_child_does_not_speak_on_its_parents_connection(self, receiver):
        client = Client()
        client.send("POST", receiver.url("/ok"))
        child = os.fork()
        if child == 0:
            os._exit(0 if client.send("POST", receiver.url("/ok")).status == 200 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert receiver.connections == 2


class TestSender:
    def test_posts_come_back_under_their_keys_as_they_end(self, receiver, sender):
        receiver.slow_s = 0.5
        sender.start(Post("slow", receiver.url("/slow"), {}, b"1"))
        sender.start(Post("quick", receiver.url("/ok"), {"x-a": "b"}, b"2"))
        ended = []
        while len(ended) < 2:
            ended += sender.finished(0.2)
        assert [(sent.key, sent.status, sent.error, sent.head) for sent in ended] == [
            ("quick", 200, None, b"this is ok"),
            ("slow", 200, None, b"at last"),
        ]
        assert ended[1].duration_ms >= 500
        assert sender.free == 4

    def test_more_than_the_slots_cannot_be_started(self, receiver, sender):
        for number in range(4):
            sender.start(Post(str(number), receiver.url("/slow"), {}, b""))
        assert sender.free == 0
        with pytest.raises(IndexError):
            sender.start(Post("5", receiver.url("/slow"), {}, b""))

    @pytest.mark.parametrize("path", ["/slow", "/trickle"])
    def test_one_deadline_covers_headers_and_body(self, receiver, sender, path):
        sent = outcome(sender, receiver.url(path), timeout_s=0.3)
        assert sent.error == "timed out"
        assert 250 < sent.duration_ms < 1000

    def test_answer_is_read_up_to_the_limit_and_judged_by_its_status(self, receiver, sender):
        sent = outcome(sender, receiver.url("/huge"))
        assert (sent.status, sent.error, len(sent.head)) == (200, None, POST_ANSWER_MAX_BYTES)

    def test_endless_headers_are_cut(self, receiver, sender):
        assert outcome(sender, receiver.url("/headers")).head == b""

    def test_broken_off_exchange_is_an_error(self, receiver, sender):
        receiver.slow_s = 0.0
        sent = outcome(sender, receiver.url("/hang"))
        assert (sent.status, sent.error) == (None, "the connection was closed without an answer")

    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("120", 120),
            ("0", None),
            ("99999", 6 * 3600),
            ("9" * 40, None),
            ("Sat, 21 Nov 2020 11:59:00 GMT", None),
            ("Sat, 21 Nov 2099 11:59:00 GMT", 6 * 3600),
            ("Mon, 01 Jan 2024 00:00:00 +" + "9" * 30, None),
            ("9" * 30 + " Jan 2024 00:00:00 GMT", None),
            ("soon", None),
            ("-5", None),
            ("\xd9\xa1\xd9\xa2", None),
            ("", None),
        ],
    )
    def test_retry_after_is_seconds_or_a_date(self, receiver, sender, header, expected):
        """And whatever it holds, nothing is raised: the results of a batch are recorded together."""
        sent = outcome(sender, receiver.url("/busy/" + quote(header, encoding="latin-1")))
        assert (sent.status, sent.error, sent.retry_after_s) == (429, None, expected)

    def test_redirect_is_not_followed(self, receiver, sender):
        assert outcome(sender, receiver.url("/to/inside")).status == 302
        assert receiver.to("/inside") == []

    def test_bad_address_or_header_is_an_outcome_not_an_exception(self, sender):
        assert outcome(sender, "http://10.0.0.1/").error == "must be an address on the public internet"
        assert "header" in outcome(sender, "http://127.0.0.1/", headers={"a": "b\n"}).error
        assert sender.free == 4

    def test_handles_are_as_new_after_an_error(self, receiver, sender):
        for path in ("/huge", "/trickle", "/headers", "/hang", "/ok", "/ok", "/ok", "/ok", "/ok"):
            sent = outcome(sender, receiver.url(path), timeout_s=0.2)
        assert (sent.status, sent.error, sent.head) == (200, None, b"this is ok")

    def test_no_file_descriptor_is_left_behind(self, receiver):
        before = open_files()
        for _ in range(3):
            sender = Sender(LOOPBACK, slots=2)
            for path in ("/ok", "/huge", "/trickle"):
                outcome(sender, receiver.url(path), timeout_s=0.2)
            sender.start(Post("k", receiver.url("/slow"), {}, b""))
            sender.finished(0.05)
            sender.close()
        # The receiver's own ends of these connections live in this process too, and close a little later.
        deadline = time.monotonic() + 5
        while open_files() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert open_files() <= before


class TestGuardAtConnect:
    """The wall itself: libcurl is given the address directly, past ``check_url``."""

    HOSTS = (
        "127.0.0.1 127.1 0 0x7f000001 2130706433 017700000001 0177.0.0.1 127.0.0.1. localhost localhost. "
        "a.localhost [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [0:0:0:0:0:0:0:1] "
        "10.0.0.1 169.254.169.254 0xa9fea9fe 2852039166 100.100.100.200 192.168.0.1 172.16.0.1 224.0.0.1 "
        "255.255.255.255 [fd00:ec2::254] [fe80::1] [64:ff9b::7f00:1] [64:ff9b:1::1] [2002:7f00:1::1] "
        "[2001:0:7f00:1::] [fec0::1] [5f00::1] 192.88.99.1 192.0.0.192 198.18.0.1 240.0.0.1"
    ).split()

    @pytest.mark.parametrize("host", HOSTS)
    def test_no_spelling_of_a_private_address_is_connected_to(self, receiver, host):
        with pytest.raises(pycurl.error):
            self.exchange(PUBLIC_ONLY, f"http://{host}:{receiver.port}/ok")
        assert receiver.connections == 0

    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "0.0.0.0"]
    )
    def test_public_looking_name_that_resolves_inside_is_not_connected_to(self, receiver, address):
        with pytest.raises(pycurl.error):
            self.exchange(PUBLIC_ONLY, f"http://shop.example:{receiver.port}/ok", resolves_to=address)
        assert self.last.reason(0) == REFUSED
        assert receiver.connections == 0

    def test_every_address_of_a_name_is_judged(self, receiver):
        """One public-looking answer does not open the door for the other."""
        guard = Guard((ipaddress.ip_network("127.0.0.2/32"),), https_only=False, ports=frozenset())
        with pytest.raises(pycurl.error):
            self.exchange(
                guard, f"http://shop.example:{receiver.port}/ok", resolves_to="10.0.0.1,127.0.0.1,::1"
            )
        assert receiver.connections == 0

    def test_name_that_changes_its_answer_after_the_check_gains_nothing(self, receiver):
        guard = Guard((ipaddress.ip_network("127.0.0.2/32"),), https_only=False, ports=frozenset())
        url = f"http://shop.example:{receiver.port}/ok"
        guard.check_url(url)
        with pytest.raises(pycurl.error):
            self.exchange(guard, url, resolves_to="127.0.0.1")
        assert receiver.connections == 0

    def test_allowed_address_is_connected_to(self, receiver):
        self.exchange(LOOPBACK, f"http://shop.example:{receiver.port}/ok", resolves_to="127.0.0.1")
        assert self.last.status() == 200
        assert receiver.requests[0].headers["host"] == f"shop.example:{receiver.port}"

    def test_client_without_a_guard_goes_where_the_operator_says(self, receiver):
        assert Client().send("GET", receiver.url("/ok")).status == 200
        with pytest.raises(InvalidRequest):
            Client(PUBLIC_ONLY).send("GET", receiver.url("/ok"))

    def exchange(self, guard: Guard, url: str, resolves_to: str | None = None) -> None:
        self.last = _Exchange(guard)
        self.last.load("POST", url, [], b"", 1.0, 1000)
        if resolves_to is not None:
            host, port = url.split("/")[2].rsplit(":", 1)
            self.last.curl.setopt(pycurl.RESOLVE, [f"{host}:{port}:{resolves_to}"])
        self.last.curl.perform()


class TestTLS:
    @pytest.fixture
    def port(self, certificate) -> Iterator[int]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(5)

            def serve() -> None:
                try:
                    plain, _ = listening.accept()
                    with plain, context.wrap_socket(plain, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    pass

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield listening.getsockname()[1]
            thread.join()

    def test_certificate_that_nobody_vouches_for_is_refused(self, port):
        with pytest.raises(ProviderUnreachable, match="not trusted"):
            self.get("shop.example", port, None)

    def test_certificate_of_another_name_is_refused(self, port, certificate):
        with pytest.raises(ProviderUnreachable, match="not trusted"):
            self.get("other.example", port, certificate)

    def test_trusted_certificate_of_the_right_name_is_accepted(self, port, certificate):
        assert self.get("shop.example", port, certificate) == 200

    def get(self, host: str, port: int, ca: str | None) -> int:
        client = Client()
        curl = client._exchange().curl
        curl.setopt(pycurl.RESOLVE, [f"{host}:{port}:127.0.0.1"])
        if ca is not None:
            curl.setopt(pycurl.CAINFO, ca)
        return client.send("GET", f"https://{host}:{port}/").status
