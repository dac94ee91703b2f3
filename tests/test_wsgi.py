"""A process with unusable settings says what is wrong, and does not start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FAULTS = """the settings cannot be used:
  MAFU_BASE_URL: must be the public https address
  MAFU_SECRET_KEYS: is empty
  MAFU_ENCRYPTION_KEYS: is empty
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", ["flask --app wsgi doctor", "gunicorn wsgi:app --bind 127.0.0.1:0 --no-control-socket"]
)
def test_faults_are_listed_without_a_traceback_and_nothing_runs(tmp_path, program):
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MAFU_")}
    result = subprocess.run(
        [sys.executable, "-m", *program.split()],
        cwd=ROOT,
        env=mine | {"MAFU_MODE": "live", "MAFU_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 3
    assert FAULTS in result.stderr
    assert "Traceback" not in result.stderr
