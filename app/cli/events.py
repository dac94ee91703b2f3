"""``flask events``: tell a merchant's endpoints again what has happened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import click
from flask.cli import AppGroup, with_appcontext

from app import clock
from app.cli import output
from app.cli.records import live_option, merchant_id_of, merchant_option
from app.webhooks import replay
from app.webhooks.replay import Share, Span

_AGO = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

events_group = AppGroup("events", help="Tell endpoints again what has happened.")
endpoint_option = click.option(
    "--endpoint", "endpoint_id", metavar="WE", help="Only to this one; to all that want it if left out."
)


class Moment(click.ParamType):
    """A time with its zone, or a span before now."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """``"36h"`` or ``"2026-11-21T08:30:00+08:00"``."""
        if isinstance(value, datetime):
            return value
        ago = _AGO.fullmatch(value)
        if ago is not None:
            return clock.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail("say 36h, 7d, or a time such as 2026-11-21T08:30:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail("say the time zone as well: Z for UTC, +08:00 for China", param, ctx)
        return moment


@events_group.command("resend")
@click.argument("event_id", metavar="EVT")
@endpoint_option
@merchant_option
@output.json_option
@with_appcontext
@output.told
def resend_event(event_id: str, endpoint_id: str | None, whose: str, as_json: bool) -> None:
    """Send event EVT again, now: same id, same bytes, new signature."""
    _say(replay.resend_event(merchant_id_of(whose), event_id, endpoint_id=endpoint_id), "sent", as_json)


@events_group.command("replay")
@click.option("--from", "begin", type=Moment(), required=True, help="36h, 7d, or 2026-11-21T08:30:00Z.")
@click.option("--to", "end", type=Moment(), default="0s", show_default="now", help="The same; excluded.")
@click.option("--types", "names", default="", help="Only these, with commas between; all if left out.")
@endpoint_option
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@merchant_option
@live_option
@output.json_option
@with_appcontext
@output.told
def replay_events(
    *,
    begin: datetime,
    end: datetime,
    names: str,
    endpoint_id: str | None,
    dry_run: bool,
    whose: str,
    live: bool,
    as_json: bool,
) -> None:
    """Send a span of events again, oldest first, each endpoint what it subscribes to.

    Look with --dry-run first.  Also what happened before an endpoint was made, or while it was disabled.
    """
    event_types = tuple(part.strip() for part in names.split(",") if part.strip())
    span = Span(merchant_id_of(whose), live, begin, end, event_types)
    work = replay.plan if dry_run else replay.replay
    _say(work(span, endpoint_id=endpoint_id), "would be sent" if dry_run else "sent", as_json)


def _say(shares: Sequence[Share], what: str, as_json: bool) -> None:
    if as_json:
        output.say_json({"endpoints": [asdict(share) for share in shares]})
        return
    for share in shares:
        events = "1 event" if share.events == 1 else f"{share.events} events"
        output.say(f"{share.endpoint_id}  {events} {what} to {share.url}")
