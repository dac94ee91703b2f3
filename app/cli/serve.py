"""``flask serve``: the whole house on one machine, with one command to start it and one Ctrl-C to end it.

In demo mode that is the sandbox, the web, the worker and a shop that can be paid at once; in live mode
the web and the worker.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import flask_migrate
from flask.cli import with_appcontext

from app import db, metrics, runtime
from app.cli import banner, children, demo, output, places, signals
from app.cli.children import ROOT, Child
from app.cli.places import Places
from app.config import Settings
from app.errors import ProviderUnreachable
from app.http import Client

START_S = 60.0  # for a child to answer; it takes two seconds on a free machine
_LOOK_EVERY_S = 0.05


class _Ended(Exception):
    """Somebody asked us to end while we were starting."""


@click.command("serve")
@click.option("--verbose", is_flag=True, help="Show the logs of all processes, not only warnings.")
@with_appcontext
def serve_command(verbose: bool) -> None:
    """Start everything: database, web, worker; in demo mode also the sandbox and a shop to try.

    HOST, PORT, SANDBOX_PORT and MAFU_DATA say where.  Ctrl-C or SIGTERM ends all of it.
    """
    settings = runtime.settings()
    here = places.places_of(settings)
    if settings.is_demo and not verbose and "MAFU_LOG_LEVEL" not in os.environ:
        logging.getLogger().setLevel(logging.WARNING)
    with signals.noticed() as is_over:
        _refuse_busy_ports(settings, here)
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        output.say("preparing the database …", err=True)
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        family = _family(settings, here, verbose=verbose)
        try:
            _run(here, family, is_over)
        except _Ended:
            pass
        finally:
            children.stop(list(family.values()), _tell)
    output.say("stopped", err=True)


def _run(here: Places, family: Mapping[str, Child], is_over: Callable[[], bool]) -> None:
    settings, everybody = runtime.settings(), list(family.values())
    output.say(f"starting {', '.join(family)} …", err=True)
    for child in everybody:
        children.start(child)
    if settings.is_demo:
        demo.settle_in(here.base_url)
        _wait_for(here.near_sandbox_url, family["sandbox"], everybody, is_over)
        shop = demo.seed(here)
        _wait_for(here.near_base_url, family["web"], everybody, is_over)
        output.say(banner.demo_banner(runtime.settings(), shop))
    else:
        _wait_for(here.near_base_url, family["web"], everybody, is_over)
        output.say(banner.live_banner(settings))
    sys.stdout.flush()
    db.db.engine.dispose()  # nothing more is read or written here
    while not is_over():
        children.mend(everybody, _tell)
        time.sleep(0.2)


def _family(settings: Settings, here: Places, *, verbose: bool) -> dict[str, Child]:
    """Who is to run, in the order of starting."""
    quiet = settings.is_demo and not verbose
    common = os.environ | {"MAFU_DATA": str(settings.data.resolve()), "MAFU_BASE_URL": here.base_url}
    common[metrics.FOLDER] = str(_clean(settings.data / "metrics"))
    if quiet:
        common.setdefault("MAFU_LOG_LEVEL", "WARNING")
    sandbox = common | {
        "SANDBOX_DATA": str((settings.data / "sandbox").resolve()),
        "SANDBOX_PUBLIC_URL": here.sandbox_url,
    }
    level = "warning" if quiet else "info"
    size = settings.web_workers, settings.web_threads
    found = [
        Child("sandbox", _gunicorn("sandbox.wsgi:app", here.sandbox_binds, (1, 16), level), sandbox),
        # Loaded once and then forked: the engine and the clients open nothing before their first use.
        Child("web", [*_gunicorn("wsgi:app", here.binds, size, level), "--preload"], common),
        Child("worker", (sys.executable, "-m", "flask", "--app", "wsgi", "worker"), common),
    ]
    return {child.name: child for child in found if settings.is_demo or child.name != "sandbox"}


def _clean(folder: Path) -> Path:
    """An empty folder: what earlier processes have counted is over, and Prometheus knows a fresh start."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder.resolve()


def _gunicorn(app: str, binds: tuple[str, ...], size: tuple[int, int], level: str) -> list[str]:
    bound = [part for bind in binds for part in ("--bind", bind)]
    # The control socket would be one more door; the graceful timeout is shorter than our patience.
    options = f"--worker-class gthread --workers {size[0]} --threads {size[1]} --log-level {level}"
    options += " --no-control-socket --graceful-timeout 8"
    return [sys.executable, "-m", "gunicorn", app, *bound, *options.split()]


def _refuse_busy_ports(settings: Settings, here: Places) -> None:
    wanted = [("PORT", bind) for bind in here.binds]
    if settings.is_demo:
        wanted += [("SANDBOX_PORT", bind) for bind in here.sandbox_binds]
        if settings.port == settings.sandbox_port:
            raise click.ClickException(f"PORT and SANDBOX_PORT are both {settings.port}: choose two")
    for name, bind in wanted:
        try:
            free = places.is_free(bind)
        except OSError as error:
            raise click.ClickException(f"cannot listen on {bind} ({error.strerror}): check HOST") from None
        if not free:
            port = int(bind.rpartition(":")[2])
            raise click.ClickException(
                f"port {port} is in use by another program: stop that, or choose another port, "
                f"for instance {name}={port + 10} make run"
            )


def _wait_for(url: str, child: Child, everybody: list[Child], is_over: Callable[[], bool]) -> None:
    """Until the child answers.  Raises ClickException if any of them falls meanwhile, _Ended if told to."""
    client = Client()
    for _ in _ticks(START_S):
        if is_over():
            raise _Ended
        for one in everybody:
            if not one.is_alive:
                raise click.ClickException(f"{one.name} did not start: what it said is above")
        try:
            if client.send("GET", f"{url}/healthz", timeout_s=2.0).status == 200:
                return
        except ProviderUnreachable:
            pass  # not yet
    raise click.ClickException(f"{child.name} did not answer at {url}/healthz within {START_S:.0f} s")


def _ticks(span_s: float) -> Iterator[None]:
    deadline_s = time.monotonic() + span_s
    while time.monotonic() < deadline_s:
        yield
        time.sleep(_LOOK_EVERY_S)


def _tell(text: str) -> None:
    output.say(text, err=True)
