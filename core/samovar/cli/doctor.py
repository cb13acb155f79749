"""`samovar doctor`: what is installed, what works, and how to mend the rest."""

from __future__ import annotations

import json
import platform

import click

from samovar.cli.options import json_option

__all__ = ["doctor"]

MARKS = {"ok": "✓", "lack": "·", "broken": "✗"}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """What is installed, which extras and devices work, and how to mend the rest.

    Exit status 1 when something that the base install needs is broken; a lack that only an extra would fill is none.
    """
    from samovar.diagnosis import examine

    findings = examine()
    if as_json:
        for finding in findings:
            click.echo(json.dumps(finding.as_dict()))
    else:
        click.echo(f"samovar on Python {platform.python_version()}, {platform.system()} {platform.machine()}")
        area = None
        for finding in findings:
            if finding.area != area:
                click.echo(f"\n{finding.area}")
                area = finding.area
            click.echo(f"  {MARKS[finding.state]} {finding.subject:<24} {finding.detail}")
            if finding.mend:
                click.echo(f"    → {finding.mend}")
    return int(any(finding.state == "broken" for finding in findings))
