"""qz report: what a quantization run did, module by module."""
from __future__ import annotations

import math
from typing import Any, Optional

import click
from rich.console import Console
from rich.table import Table

from ..model import Model
from ..report import ModuleReport
from .common import Common, group_words, memory_words, seconds_words, with_common


@click.command(short_help="What quantization did to each module.")
@click.argument("directory", type=click.Path())
@with_common
def report(common: Common, directory: str) -> None:
    """Shows the report that lies in a quantized DIRECTORY: methods, errors, damping, time, peak memory as estimated and as measured."""
    model = Model.open(directory, context=common.context)
    document, modules = model.report_json(), model.report
    common.emit({"command": "report", "directory": directory, "report": document}, lambda console: _show(console, modules, document))


def _show(console: Console, modules: list[ModuleReport], document: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("module", no_wrap=True)
    for title in ("method", "bits", "group", "output error", "of RTN", "damp", "drift", "residual", "s"):
        table.add_column(title, justify="right")
    for r in modules:
        ratio = r.output_error / r.rtn_output_error if r.rtn_output_error else None
        table.add_row(r.name, r.method + (" (fell back)" if r.fell_back else ""), f"{r.bits}{'a' if r.asymmetric else ''}",
                      group_words(r.group), _number(r.output_error, ".3g"), _number(ratio, ".2f"), _number(r.damp, ".2g"),
                      _number(r.drift, ".2g"), _number(r.residual, ".2g"), _number(r.seconds, ".2f"))
    console.print(table)
    seconds, memory = document.get("seconds"), document.get("memory")
    if seconds and seconds["total"]:
        console.print(f"time: {seconds['total']:.1f} s: {seconds_words(seconds)}")
    if memory and memory["estimated"]:
        console.print(f"peak memory: {memory_words(memory)}")


def _number(value: Optional[float], form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)
