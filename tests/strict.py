"""A pytest plugin: a skipped test is said aloud, and with STRICT=1 it fails the run.

A test that skips where it should run proves nothing, and a quiet one rots.  Register it in the
outermost conftest: ``pytest_plugins = ["tests.strict"]``.
"""

from __future__ import annotations

import os

import pytest


def is_strict() -> bool:
    """Whether this run may skip nothing (STRICT=1)."""
    return os.environ.get("STRICT") == "1"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run that would pass into a failed one if anything was skipped and nothing may be."""
    if is_strict() and session.exitstatus == pytest.ExitCode.OK and skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List what was skipped by its reason, before the closing line."""
    found = skips(config)
    if not found:
        return
    verdict = "and STRICT=1 forbids it" if is_strict() else "STRICT=1 would fail"
    terminalreporter.section(f"SKIPPED, {verdict}", sep="!", red=is_strict(), yellow=not is_strict())
    for reason, names in found.items():
        terminalreporter.line(f"{reason}:")
        for name in names:
            terminalreporter.line(f"    {name}")


def skips(config: pytest.Config) -> dict[str, list[str]]:
    """Reason -> tests and files, of this process; workers of pytest-xdist report to the controller."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    found: dict[str, list[str]] = {}
    for report in reporter.stats.get("skipped", []) if reporter is not None else []:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    return found
