"""qz verify: is a directory what was written?"""
from __future__ import annotations

from typing import Optional

import click
from rich.console import Console

from ..errors import BadFile
from ..model import Model, Verification
from . import exit_codes
from .common import Common, with_common


@click.command(short_help="Is a directory what was written?")
@click.argument("directory", type=click.Path())
@click.option("--against", type=click.Path(),
              help="Compare with this model's matrices.  [default: with what the directory's report recorded]")
@with_common
def verify(common: Common, directory: str, against: Optional[str]) -> int:
    """Reads DIRECTORY back: headers, shapes, hashes, every decoded matrix. Exit status 1 if something differs."""
    try:
        model = Model.open(against or directory, context=common.context)
        result = model.verify(directory)
    except BadFile as problem:
        if against:
            Model.open(against, context=common.context)  # which of the two is it?
        result = Verification(False, None, [{"severity": "error", "file": directory, "tensor": "", "text": str(problem)}])
    common.emit({"command": "verify", "directory": directory, "against": against, "ok": result.ok, "checked": result.checked,
                 "findings": result.findings}, lambda console: _show(console, directory, result))
    return exit_codes.OK if result.ok else exit_codes.FINDINGS


def _show(console: Console, directory: str, result: Verification) -> None:
    for finding in result.findings:
        where = " ".join(filter(None, (finding.get("file"), finding.get("tensor"))))
        console.print(f"{finding['severity']}: {where}: {finding['text']}" if where else f"{finding['severity']}: {finding['text']}")
    console.print(f"{directory}: {'as it was written' if result.ok else 'NOT as it was written'}")
