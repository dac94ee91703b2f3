"""Where things are listened for and what links say, from HOST and the ports."""

from __future__ import annotations

import socket

import pytest

from app.cli import places
from app.config import load_settings
from tests.conftest import KEYS


@pytest.fixture
def at_home(monkeypatch):
    monkeypatch.setattr(places, "lan_address", lambda: "192.168.1.7")


def of(host: str, **more):
    return places.places_of(load_settings(host=host, port=8000, sandbox_port=8001, **KEYS, **more))


def test_by_default_only_this_machine(at_home):
    found = of("127.0.0.1")
    assert (found.base_url, found.sandbox_url) == ("http://127.0.0.1:8000", "http://127.0.0.1:8001")
    assert (found.binds, found.sandbox_binds) == (("127.0.0.1:8000",), ("127.0.0.1:8001",))


@pytest.mark.parametrize(("host", "bind"), [("0.0.0.0", "0.0.0.0"), ("::", "[::]")])
def test_everywhere_shows_the_address_on_the_network(at_home, host, bind):
    found = of(host)
    assert (found.base_url, found.sandbox_url) == ("http://192.168.1.7:8000", "http://192.168.1.7:8001")
    assert (found.near_base_url, found.near_sandbox_url) == ("http://127.0.0.1:8000", "http://127.0.0.1:8001")
    assert (found.binds, found.sandbox_binds) == ((f"{bind}:8000",), (f"{bind}:8001",))


def test_on_one_address_the_sandbox_can_be_reached_near_as_well(at_home):
    found = of("192.168.1.9")
    assert found.base_url == found.near_base_url == "http://192.168.1.9:8000"
    assert found.near_sandbox_url == "http://127.0.0.1:8001"
    assert found.sandbox_binds == ("192.168.1.9:8001", "127.0.0.1:8001")


def test_six_comes_in_brackets(at_home):
    found = of("::1")
    assert found.base_url == found.near_base_url == "http://[::1]:8000"
    assert found.sandbox_binds == ("[::1]:8001",)


def test_what_the_operator_says_goes_into_links(at_home):
    found = of("0.0.0.0", base_url="https://pay.example.com")
    assert (found.base_url, found.near_base_url) == ("https://pay.example.com", "http://127.0.0.1:8000")


class _Offline(socket.socket):
    def connect(self, address):
        raise OSError(101, "Network is unreachable")


@pytest.mark.parametrize(
    ("named", "shown"), [("192.168.1.7", "192.168.1.7"), ("127.0.1.1", "127.0.0.1"), (None, "127.0.0.1")]
)
def test_offline_the_hosts_own_name_is_asked(monkeypatch, named, shown):
    def lookup(_name):
        if named is None:
            raise socket.gaierror(-2, "Name or service not known")
        return named

    monkeypatch.setattr(places.socket, "socket", _Offline)
    monkeypatch.setattr(places.socket, "gethostbyname", lookup)
    assert places.lan_address() == shown


def test_the_address_on_the_network_is_one_of_this_machine():
    with socket.socket() as probe:
        probe.bind((places.lan_address(), 0))  # raises if it is not


def test_a_busy_port_is_noticed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not places.is_free(f"127.0.0.1:{port}")
    assert places.is_free(f"127.0.0.1:{port}")


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(OSError, match="assign"):
        places.is_free("192.0.2.1:8000")
