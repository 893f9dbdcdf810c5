"""qz inspect: what a directory holds, from its headers alone."""
from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..model import Model, ModelInfo
from .common import Common, group_words, pairs, with_common


@click.command(short_help="What a directory holds.")
@click.argument("directory", type=click.Path())
@click.option("--modules", "all_modules", is_flag=True, help="Every linear layer, not a line for each kind.")
@click.option("--config-only", is_flag=True, help="config.json alone; the weights need not be there.")
@with_common
def inspect(common: Common, directory: str, all_modules: bool, config_only: bool) -> None:
    """Shows what the model in DIRECTORY is and how it is stored."""
    model = Model.open(directory, context=common.context, config_only=config_only)
    info, modules = model.info, [asdict(module) for module in model.modules]
    common.emit({"command": "inspect", "directory": directory, "info": asdict(info), "modules": modules},
                lambda console: _show(console, directory, info, modules, all_modules))


def _show(console: Console, directory: str, info: ModelInfo, modules: list[dict[str, Any]], all_modules: bool) -> None:
    console.print(pairs([
        ("directory", directory), ("family", info.arch), ("stored as", f"{info.format}, {info.dtype}"),
        ("parameters", f"{info.parameters:,}"), ("layers", str(info.layers)), ("hidden", str(info.hidden)),
        ("heads", f"{info.heads}, {info.kv_heads} for keys and values, {info.head_dim} wide"),
        ("intermediate", str(info.intermediate)), ("vocabulary", f"{info.vocab}{', head tied to the embedding' if info.tied else ''}"),
        ("positions", str(info.max_seq))]))
    table = Table(box=None, pad_edge=False)
    for title in ("module" if all_modules else "modules", "count", "rows", "cols", "bits", "group"):
        table.add_column(title, justify="left" if title.startswith("module") else "right")
    kinds: dict[tuple[Any, ...], int] = {}
    for m in modules:
        key = (m["name"] if all_modules else m["role"], m["rows"], m["cols"], m["bits"], m["group"])
        kinds[key] = kinds.get(key, 0) + 1
    for (name, rows, cols, bits, group), count in kinds.items():
        table.add_row(name, str(count), str(rows), str(cols), str(bits) if bits else info.dtype, group_words(group))
    console.print()
    console.print(table)
