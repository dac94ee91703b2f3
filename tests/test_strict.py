"""STRICT=1 is what makes a green run mean that everything ran; here it is run for real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

A_PASS = "def test_passes():\n    pass\n"
A_SKIP = "import pytest\n\ndef test_lacks_something():\n    pytest.skip('no teapot')\n"
A_SKIPPED_FILE = "import pytest\n\npytest.skip('no kettle', allow_module_level=True)\n"
SKIPS = [(A_SKIP, "no teapot"), (A_SKIPPED_FILE, "no kettle")]
A_KNOWN_FAULT = "import pytest\n\n@pytest.mark.xfail(reason='known')\ndef test_fault():\n    assert False\n"


def run(folder: Path, strict: str, *sources: str, workers: str = "0") -> tuple[int, str]:
    """Pytest's exit code and output for a folder of test files."""
    for number, source in enumerate(sources):
        (folder / f"test_{number}.py").write_text(source)
    plugins = ["-p", "xdist", "-p", "tests.strict"]  # loading all that are installed takes seconds
    command = [sys.executable, "-m", "pytest", *plugins, "-n", workers, "-c", os.devnull, "."]
    env = {**os.environ, "STRICT": strict, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


def test_a_run_without_skips_passes_and_lists_nothing(tmp_path):
    code, output = run(tmp_path, "1", A_PASS, A_KNOWN_FAULT)
    assert code == 0
    assert "SKIPPED" not in output


def test_a_skip_is_listed_with_its_reason_and_passes_when_not_strict(tmp_path):
    code, output = run(tmp_path, "", A_PASS, A_SKIP)
    assert code == 0
    assert "STRICT=1 would fail" in output
    assert "no teapot:\n    test_1.py::test_lacks_something" in output


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("source", "reason"), SKIPS, ids=["a test", "a file"])
def test_a_skip_fails_a_strict_run(tmp_path, source, reason, workers):
    code, output = run(tmp_path, "1", A_PASS, source, workers=workers)
    assert code == 1
    assert "1 passed, 1 skipped" in output
    assert f"{reason}:\n    test_1.py" in output
