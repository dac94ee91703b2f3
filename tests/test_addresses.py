"""Which addresses a stranger's URL may lead to: every spelling of what is not the public internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.addresses import URL_MAX_CHARS, Guard
from app.errors import InvalidRequest

OPEN = Guard(https_only=False, ports=frozenset())
STRICT = Guard()

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.0.0.53
127.255.255.254 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192
192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::2 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1:ffff::10.0.0.1 100::1 100:0:0:1::1
2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::1 2002:a00:1:: 3fff::1
5f00::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1 feff::1 ff02::1 ff05::2 4000::1 e000::1
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.1.1.1 128.0.0.1 169.253.1.1 172.15.0.1
172.32.0.1 192.0.1.1 192.167.1.1 192.169.1.1 198.17.1.1 198.20.1.1 223.255.255.254
2606:4700:4700::1111 2400:3200::1 2001:4860:4860::8888 2a00:1450::1 ::ffff:8.8.8.8
""".split()

# What a URL's host can look like when it means 127.0.0.1, 10.0.0.1 or 169.254.169.254 to some parser.
ODD_HOSTS = """
127.1 127.0.1 127.0.0.1. 0 0x7f000001 0x7f.1 0x7f.0x0.0x0.0x1 2130706433 017700000001 0177.0.0.1 0177.1
127.00.0.1 00127.0.0.1 127.0.0.01 0x7F000001 4294967295 10.1 012.0.0.1 167772161 0xa000001 2852039166
0xa9fea9fe 0251.0376.0251.0376 169.254.43518 localhost LOCALHOST localhost. Foo.LocalHost 1.2.3.4.5 256.1.1.1
0x 1e3.1 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:7f00:1] [::ffff:127.0.0.1] [::ffff:a00:1] [::7f00:1] [fe80::1]
[64:ff9b::7f00:1] [2002:7f00:1::] [fd00:ec2::254] [1::2::3] [:::] [127.0.0.1] [::1%25eth0] [v1.x]
127.0.0.1%00.example.com 127。0。0。1 １２７.0.0.1 ①②⑦.⓪.⓪.① ⑯⑨.254.169.254 ℓocalhost 例子.测试 a..b .a -
""".split()

ODD_URLS = (
    "",
    "https://",
    "https:///x",
    "//shop.example/",
    "shop.example",
    "ftp://shop.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "javascript:alert(1)",
    "https:shop.example",
    "https:/shop.example",
    "https://user@shop.example/",
    "https://user:pw@shop.example/",
    "https://shop.example@127.0.0.1/",
    "https://127.0.0.1#@shop.example/",
    "https://shop.example/#part",
    "https://shop.example\\@127.0.0.1/",
    "https://shop.example\\.evil.example/",
    "https://shop.example:0/",
    "https://shop.example:65536/",
    "https://shop.example:443443/",
    "https://shop.example:/",
    "https://shop.example:+443/",
    "https://shop.example:４４３/",
    "https://shop.example /",
    " https://shop.example/",
    "https://shop.example/\n",
    "https://shop.example/\r\nHost: evil",
    "https://shop.example/\t",
    "https://shop.example/\x00",
    "https://shop.example/\x7f",
    "https://shop.example/路",
    "https://shop.example/<script>",
    'https://shop.example/"',
    "https://shop.example/a b",
    "https://[shop.example]/",
    "https://[::1/",
    f"https://{'a' * 64}.example/",
    f"https://{'a.' * 130}example/",
    "https://shop.example/" + "a" * URL_MAX_CHARS,
)


@pytest.mark.parametrize("text", PRIVATE)
def test_private_address_is_not_permitted(text):
    assert not STRICT.permits(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_address_is_permitted(text):
    assert STRICT.permits(ip_address(text))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_ipv4_address_is_permitted_that_the_standard_library_calls_private(address):
    """Two lists made by different people: ours may only be stricter."""
    if not address.is_global or address.is_multicast:
        assert not STRICT.permits(address)
    assert STRICT.permits(IPv6Address(f"::ffff:{address}")) == STRICT.permits(address)


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_ipv6_address_is_permitted_that_the_standard_library_calls_private(address):
    if not address.is_global or address.is_multicast or address.is_site_local:
        assert not STRICT.permits(address)


@pytest.mark.parametrize("host", [*PRIVATE, *ODD_HOSTS])
def test_url_with_a_private_or_odd_host_is_refused(host):
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    with pytest.raises(InvalidRequest) as refused:
        OPEN.check_url(f"http://{host}/hook")
    assert refused.value.param == "url"


@pytest.mark.parametrize("url", ODD_URLS)
def test_url_that_two_parsers_could_read_differently_is_refused(url):
    with pytest.raises(InvalidRequest) as refused:
        OPEN.check_url(url)
    assert refused.value.param == "url"


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example/hook?x=1&y=%20",
        "HTTPS://Shop.Example:8443/a;b=c/@me",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]:443/",
        "https://xn--fsqu00a.example/",
        "https://a_b.shop.example./",
        "https://7.shop.example/?",
    ],
)
def test_ordinary_url_is_accepted(url):
    STRICT.check_url(url)


def test_live_rules_want_https_and_a_known_port():
    for url in ("http://shop.example/", "https://shop.example:22/", "https://shop.example:80/"):
        with pytest.raises(InvalidRequest):
            STRICT.check_url(url)


def test_allowed_network_is_reachable_in_every_spelling_of_the_same_address():
    guard = Guard((ip_network("127.0.0.0/8"), ip_network("fd00:1::/32")), https_only=False, ports=frozenset())
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[fd00:1::5]"):
        guard.check_url(f"http://{host}:9000/")
    assert not guard.permits(ip_address("10.0.0.1"))
    assert not guard.permits(ip_address("fd00:2::5"))


def test_guard_of_the_neighbourhood_permits_what_it_names_and_nothing_else():
    guard = Guard((ip_network("192.168.0.0/16"),), https_only=False, ports=frozenset(), public=False)
    guard.check_url("http://192.168.1.7:3000/")
    assert guard.permits(ip_address("::ffff:192.168.1.7"))
    for text in ("8.8.8.8", "2606:4700:4700::1111", "10.0.0.1"):
        assert not guard.permits(ip_address(text))
    with pytest.raises(InvalidRequest, match="nearby"):
        guard.check_url("http://8.8.8.8/")
