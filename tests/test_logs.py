"""No secret reaches a log, in either form of output, wherever in a record it stands."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
import structlog

from app import logs
from tests.conftest import ROOT

CANARY = "Qx7Zk2Lm9Vb4Nd8Tf3Wc6"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{CANARY}\n{CANARY}==\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    f"mafu_sk_test_abcd{CANARY}",
    f"mafu_sk_live_abcd{CANARY}",
    f"mafu_rk_live_abcd{CANARY}",
    f"whsec_{CANARY}/+=",
    PEM,
    PEM.replace("\n", "\r\n"),
    PEM.replace("\n", "\\n"),
    PEM.replace("RSA ", ""),
    PEM.replace("RSA", "EC"),
    PEM.partition("\n-----END")[0],
    f"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ{CANARY}",
    f"https://PAY.EXAMPLE.COM/C/01JD3W6J{CANARY.upper()}",
    f"http://pay.example.com/c/01jd3w6j{CANARY.lower()}",
    f"http://127.0.0.1:8000/sign-in/{CANARY}-_x",
    f"Authorization: Bearer {CANARY}",
    f"Basic {CANARY}==",
    f"mafu_session={CANARY}; Path=/",
]
# Run in a process of its own: configure() is for the whole process.
PROGRAM = """
import json, logging, sys
import structlog
from app import logs

logs.configure(level="DEBUG", json=sys.argv[1] == "json")
log = structlog.get_logger("first")
std = logging.getLogger("second")
secrets = json.loads(sys.stdin.read())
for secret in secrets["shapes"]:
    log.info(f"event with {secret} in it")
    log.info("value", here=secret, raw=secret.encode(), error=ValueError(secret))
    log.info("deep", inside={"deep": [{"deeper": (secret,)}]})
    log.bind(bound=secret).warning("bound")
    std.warning("argument %s", secret)
    std.warning("extra", extra={"here": secret, "inside": {"deep": [secret]}})
    for speaker in (log, std):
        try:
            try:
                raise KeyError(secret)
            except KeyError as cause:
                raise RuntimeError(f"because of {secret}") from cause
        except RuntimeError:
            speaker.exception("failed")
for name in secrets["names"]:
    log.info("named", **{name: secrets["canary"]}, inside={name.upper(): secrets["canary"]})
    std.info("named", extra={name: secrets["canary"]})
log.info("harmless", charge_id="ch_01jd3w6j7hqk2m8n4p6r8t0v2x", amount=1250, ok=True, none=None)
"""


def said(form: str) -> str:
    """What a process wrote that was asked to log every secret in every way."""
    names = [name for name in sorted(logs._SECRET_NAMES) if name.isidentifier()]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, form],
        input=json.dumps({"shapes": SECRETS, "names": names, "canary": CANARY}),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert run.stdout == ""
    return run.stderr


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_canary_is_ever_written(form):
    written = said(form)
    assert CANARY.lower() not in written.lower()
    assert written.count("failed") == 2 * len(SECRETS)
    assert "because of" in written
    for fact in ("ch_01jd3w6j7hqk2m8n4p6r8t0v2x", "1250", "harmless", "mafu_sk_test_abcd…"):
        assert fact in written


def test_live_mode_writes_one_json_object_a_line():
    lines = [json.loads(line) for line in said("json").splitlines()]
    assert {"event", "level", "logger", "timestamp"} <= set.intersection(*[set(line) for line in lines])
    assert lines[-1] | {"timestamp": ""} == {
        "event": "harmless",
        "level": "info",
        "logger": "first",
        "timestamp": "",
        "charge_id": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
        "amount": 1250,
        "ok": True,
        "none": None,
    }


def test_what_is_no_secret_stays_as_it_is():
    record = {
        "event": "charge paid",
        "charge_id": "ch_1",
        "amount_minor": 1250,
        "late": False,
        "list": [1, "a"],
    }
    assert logs.mask(record) == record


def test_the_level_is_obeyed(capsys):
    logger, before = logging.getLogger(), (logging.getLogger().level, list(logging.getLogger().handlers))
    configuration = structlog.get_config()
    try:
        logs.configure(level="WARNING", json=True)
        logging.getLogger("x").info("quiet")
        logging.getLogger("x").warning("loud")
        assert "quiet" not in (written := capsys.readouterr().err)
        assert "loud" in written
    finally:
        logger.setLevel(before[0])
        logger.handlers[:] = before[1]
        structlog.configure(**configuration)
