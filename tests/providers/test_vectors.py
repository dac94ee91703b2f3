"""No known answer lies about unused: every vector of the three networks is read by some test here."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests.providers.alipay_forge import VECTORS

NETWORKS = ("alipay", "wechat", "unionpay")
ALL = [vector for network in NETWORKS for vector in VECTORS[network]]
HERE = Path(__file__)


@cache
def functions() -> list[FunctionType]:
    """Every test function of this package, but those of this file."""
    found: list[FunctionType] = []
    for path in sorted(HERE.parent.glob("test_*.py")):
        if path != HERE:
            module = importlib.import_module(f"tests.providers.{path.stem}")
            found += [f for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    return found


def readers(vector_id: str) -> list[FunctionType]:
    """The tests that are given a vector as a parameter, or name it in their text."""
    return [each for each in functions() if vector_id in {*parameters(each), *constants(each.__code__)}]


def parameters(function: FunctionType) -> Iterator[str]:
    """Vectors, and names of vectors, among the values that a test is given."""
    for mark in getattr(function, "pytestmark", []):
        for value in mark.args[1] if mark.name == "parametrize" else ():
            name = value.get("id") if isinstance(value, dict) else value
            if isinstance(name, str):
                yield name


def constants(code: CodeType) -> Iterator[str]:
    """The texts in a function, and in the functions and tuples inside it."""
    waiting = list(code.co_consts)
    while waiting:
        value = waiting.pop()
        if isinstance(value, CodeType):
            waiting += value.co_consts
        elif isinstance(value, tuple | frozenset):
            waiting += value
        elif isinstance(value, str):
            yield value


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector["id"])
def test_every_vector_is_read_and_the_forged_ones_by_a_test_that_refuses(vector: dict[str, Any]) -> None:
    found = readers(vector["id"])
    assert found, "no test reads this vector"
    if vector.get("expected_valid") is False:
        assert [each for each in found if "SignatureMismatch" in each.__code__.co_names]


def test_a_vector_that_nobody_reads_would_be_seen() -> None:
    assert not readers("ali-notify-that-nobody-reads")
    assert len(ALL) == len({vector["id"] for vector in ALL}) == 44
    assert {network: len(VECTORS[network]) for network in NETWORKS} == {
        "alipay": 16,
        "wechat": 16,
        "unionpay": 12,
    }
