"""A pytest plugin: our own sandbox in this process, for tests that need a far side with a door."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from sandbox import create_sandbox
from sandbox.box import Box


@pytest.fixture(scope="session")
def network_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set of the networks' keys for all tests: making them is slow, and they are not what is tested."""
    return tmp_path_factory.mktemp("far")


@pytest.fixture
def house_of_networks(network_keys: Path) -> Iterator[Box]:
    """A real sandbox in this process, which has forgotten everything but its keys."""
    application = create_sandbox(str(network_keys), public_url="http://127.0.0.1:1", notify=False)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    box: Box = application.extensions["sandbox"]
    box.public_url = f"http://127.0.0.1:{server.port}"
    yield from served(server, box)
    application.test_client().post("/control/reset", json={"apps": True})
    box.store.close()


@pytest.fixture
def far(house_of_networks: Box) -> str:
    """The sandbox's address."""
    return house_of_networks.public_url


def served(server: Any, found: Any) -> Iterator[Any]:
    """``found`` while the server listens, in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
