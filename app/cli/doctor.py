"""``flask doctor``: the checkup, a line for each finding."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click
from flask.cli import with_appcontext

from app import checkup
from app.checkup import Finding, Level
from app.cli import demo, output


@click.command("doctor")
@output.json_option
@with_appcontext
def doctor_command(as_json: bool) -> None:
    """Check that everything is as it must be.  Exits 1 if anything has failed."""
    demo.adopt()
    findings = checkup.examine()
    is_well = all(finding.level is not Level.FAILED for _, finding in findings)
    if as_json:
        output.say_json(
            {"ok": is_well, "checks": [{"name": name} | asdict(finding) for name, finding in findings]}
        )
    else:
        for name, finding in findings:
            output.say(_line(name, finding))
    sys.exit(0 if is_well else 1)


_MARKS = {
    Level.OK: click.style("ok     ", fg="green"),
    Level.WARNING: click.style("warning", fg="yellow"),
    Level.FAILED: click.style("FAILED ", fg="red", bold=True),
}


def _line(name: str, finding: Finding) -> str:
    line = f"{_MARKS[finding.level]}  {name:<10}  {finding.fact}"
    return f"{line}\n{'':21}-> {finding.remedy}" if finding.remedy else line
