"""qz presets: the names that `qz quantize --preset` takes."""
from __future__ import annotations

from dataclasses import asdict

import click
from rich.table import Table

from ..presets import PRESETS
from .common import Common, with_common


@click.command(short_help="The names that --preset takes.")
@with_common
def presets(common: Common) -> None:
    """Lists the presets: what is stored, how it is made, in which format, and who loads it."""
    table = Table(box=None, pad_edge=False)
    for heading in ("preset", "scheme", "transform", "method", "format", "bits per weight", "needs data", "loaded by"):
        table.add_column(heading)
    for name, p in PRESETS.items():
        table.add_row(name, p.scheme, p.transform or "-", p.method, p.format, f"{p.bits:.3f}", "yes" if p.data else "no", p.loaders)
    common.emit({"command": "presets", "presets": [{"name": name, **asdict(p)} for name, p in PRESETS.items()]},
                lambda console: console.print(table))
