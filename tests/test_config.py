"""Settings: every fault at once, under the operator's own names, and nothing guessed where money is real."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.config import Mode, Settings, load_settings
from app.errors import SettingsError
from tests.conftest import ROOT

STRONG = "k3Vd9-Lw2_Qx7Zp4Tn8Yb5Rc1Gm6Hs0Ja"
LIVE = {
    "MAFU_MODE": "live",
    "MAFU_SECRET_KEYS": STRONG,
    "MAFU_ENCRYPTION_KEYS": STRONG[::-1],
    "MAFU_BASE_URL": "https://pay.example.com",
}


@pytest.fixture(autouse=True)
def _environment_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("MAFU_") or name in ("DATABASE_URL", "HOST", "PORT", "SANDBOX_PORT"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings_in(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def faults_in(monkeypatch: pytest.MonkeyPatch, **environment: str) -> set[str]:
    """The names that a refusal lists, one a line."""
    with pytest.raises(SettingsError) as caught:
        settings_in(monkeypatch, **environment)
    title, *lines = str(caught.value).splitlines()
    assert title == "the settings cannot be used:"
    return {line.partition(":")[0].strip() for line in lines}


def test_without_any_setting_a_demo_starts(tmp_path):
    settings = load_settings()
    assert settings.is_demo
    assert settings.origin == "http://127.0.0.1:8000"
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/instance/mafu.sqlite3"
    assert ip_network("127.0.0.0/8") in settings.allowed_networks


def test_a_complete_live_configuration_is_taken(monkeypatch):
    settings = settings_in(monkeypatch, **LIVE, DATABASE_URL="postgresql://mafu@db/mafu", PORT="9000")
    assert settings.mode is Mode.LIVE
    assert not settings.is_demo
    assert settings.origin == "https://pay.example.com"
    assert (settings.sqlalchemy_url, settings.port) == ("postgresql://mafu@db/mafu", 9000)
    assert settings.allowed_networks == ()


def test_live_mode_without_settings_names_all_that_is_missing_and_makes_nothing(monkeypatch, tmp_path):
    missing = {"MAFU_SECRET_KEYS", "MAFU_ENCRYPTION_KEYS", "MAFU_BASE_URL"}
    assert faults_in(monkeypatch, MAFU_MODE="live") == missing
    assert list(tmp_path.iterdir()) == []


def test_every_fault_is_told_at_once(monkeypatch):
    wrong = {
        "MAFU_MODE": "live",
        "MAFU_SECRET_KEYS": f"{STRONG},short",
        "MAFU_ENCRYPTION_KEYS": "changeme" * 5,
        "MAFU_BASE_URL": "http://pay.example.com",
        "MAFU_PROXY_COUNT": "-1",
        "MAFU_WEBHOOK_ALLOW": "10.0.0.0/8, nonsense",
        "MAFU_WEBHOOK_PORTS": "443,x",
        "MAFU_WEB_WORKERS": "0",
        "MAFU_WEB_THREADS": "many",
        "MAFU_LOG_LEVEL": "LOUD",
        "MAFU_QR_HOST_UPPER": "perhaps",
        "DATABASE_URL": "mysql://root:hunter2-canary@db/mafu",
        "PORT": "70000",
        "SANDBOX_PORT": "x",
    }
    assert faults_in(monkeypatch, **wrong) == set(wrong) - {"MAFU_MODE"}


def test_a_fault_does_not_repeat_a_secret(monkeypatch):
    with pytest.raises(SettingsError) as caught:
        settings_in(monkeypatch, MAFU_SECRET_KEYS="canary", DATABASE_URL="mysql://root:canary@db/mafu")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["MAFU_SECRET_KEYS", "MAFU_ENCRYPTION_KEYS"])
@pytest.mark.parametrize(
    "value",
    [
        *("", ",", " , ", "short", "a" * 64, "0123456789" * 3, "my-secret-" + STRONG, "ChangeMe-" + STRONG),
        *(
            "password-" + STRONG,
            "example-" + STRONG,
            "default-" + STRONG,
            f"{STRONG},abababababababababababababababababab",
        ),
    ],
)
def test_live_mode_refuses_an_empty_a_short_and_a_well_known_key(monkeypatch, name, value):
    assert faults_in(monkeypatch, **{**LIVE, name: value}) == {name}


def test_a_weak_key_is_refused_in_demo_mode_too(monkeypatch):
    assert faults_in(monkeypatch, MAFU_SECRET_KEYS="changeme") == {"MAFU_SECRET_KEYS"}


@pytest.mark.parametrize(
    "url",
    [
        *("pay.example.com", "ftp://pay.example.com", "https://", "https://u:p@pay.example.com"),
        *(
            "https://pay.example.com/?a=1",
            "https://pay.example.com#x",
            "https://pay.example.com:x",
            "https://[::1",
        ),
    ],
)
def test_what_is_printed_on_paper_must_be_an_address(monkeypatch, url):
    assert faults_in(monkeypatch, **{**LIVE, "MAFU_BASE_URL": url}) == {"MAFU_BASE_URL"}


def test_lists_are_comma_separated_oldest_first(monkeypatch):
    settings = settings_in(
        monkeypatch,
        **{
            **LIVE,
            "MAFU_SECRET_KEYS": f"{STRONG}, {STRONG[::-1]} ,",
            "MAFU_WEBHOOK_ALLOW": "10.1.0.0/16, fd00::/8",
        },
        MAFU_WEBHOOK_PORTS="443, 9443",
    )
    assert settings.secret_keys == (STRONG, STRONG[::-1])
    assert settings.allowed_networks == (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert settings.webhook_ports == ("443", "9443")


def test_no_secret_shows_when_settings_are_printed(monkeypatch):
    settings = settings_in(monkeypatch, **LIVE, DATABASE_URL="postgresql://mafu:hunter2@db/mafu")
    for text in (repr(settings), str(settings)):
        assert STRONG not in text
        assert STRONG[::-1] not in text
        assert "hunter2" not in text


def test_settings_do_not_change(monkeypatch):
    with pytest.raises(ValueError, match="frozen"):
        settings_in(monkeypatch, **LIVE).mode = Mode.DEMO


def test_a_demo_makes_its_secrets_once_for_its_owner_alone(tmp_path):
    first = load_settings()
    path = tmp_path / "instance" / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secrets.json"]
    assert load_settings() == first
    assert len(first.secret_keys) == len(first.encryption_keys) == 1
    assert first.secret_keys != first.encryption_keys
    assert min(len(key) for key in first.secret_keys + first.encryption_keys) >= 43
    path.unlink()
    assert load_settings().secret_keys != first.secret_keys


def test_what_is_set_wins_over_what_was_generated(monkeypatch):
    generated = load_settings()
    settings = settings_in(monkeypatch, MAFU_SECRET_KEYS=STRONG)
    assert settings.secret_keys == (STRONG,)
    assert settings.encryption_keys == generated.encryption_keys


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_secrets_that_others_can_read_are_refused(tmp_path, mode):
    load_settings()
    (tmp_path / "instance" / "secrets.json").chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_settings()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "null", '{"secret_keys": []}', '{"secret_keys": 7, "encryption_keys": 7}'),
        '{"secret_keys": ["x"], "encryption_keys": ["x"]}',
        json.dumps({"secret_keys": [STRONG], "encryption_keys": []}),
    ],
)
def test_a_spoiled_file_of_secrets_is_told_and_kept(tmp_path, text):
    """Making new ones would lose what the old ones sealed."""
    load_settings()
    path = tmp_path / "instance" / "secrets.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"secrets\.json"):
        load_settings()
    assert path.read_text() == text


def test_processes_that_start_together_agree_on_their_secrets(tmp_path):
    program = "import sys; from app.config import *; sys.stdin.read(1); print(load_settings().secret_keys)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MAFU_DATA": str(tmp_path / "shared")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    for process in processes:
        process.stdin.write("go")
        process.stdin.flush()
    found = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 5
    assert len(found) == 1
    assert [entry.name for entry in (tmp_path / "shared").iterdir()] == ["secrets.json"]


@pytest.mark.parametrize("url", ["http://proxy.internal:4750", "http://mafu:p%40ss@10.0.0.9:3128/"])
def test_webhooks_may_go_through_a_proxy(monkeypatch, url):
    settings = settings_in(monkeypatch, MAFU_WEBHOOK_PROXY=url)
    assert settings.webhook_proxy == url
    assert url not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://proxy",
        "http://a@b@proxy:1",
        "http://x:1/p",
    ],
)
def test_a_proxy_that_is_none_is_a_fault(monkeypatch, url):
    assert faults_in(monkeypatch, MAFU_WEBHOOK_PROXY=url) == {"MAFU_WEBHOOK_PROXY"}


def test_every_setting_is_documented_with_its_default():
    page = (ROOT / "docs/settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ?`?([^`|]*?)`? ?\|", page, re.MULTILINE))
    for name, field in Settings.model_fields.items():
        shown = rows.pop(str(field.validation_alias or f"MAFU_{name.upper()}"))
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        if default not in ("", None):
            assert shown.lower() == str(default).lower(), name
    assert rows == {}
