"""qz advise: which method, bits and format, with the reasons and the numbers behind them."""
from __future__ import annotations

from dataclasses import asdict
from typing import Any, Optional

import click
from rich.console import Console
from rich.table import Table

from ..advice import GOALS, Advice, advise
from ..estimates import MemoryQuery
from .common import Common, with_common
from .estimate import device_memory, gib, open_shapes


@click.command("advise", short_help="Which method, bits and format?")
@click.argument("model", type=click.Path())
@click.option("--device", help="Part of a GPU's name, cpu:0, or a size such as 16GiB.  [default: the first GPU, else the CPU]")
@click.option("--goal", type=click.Choice(GOALS), default="quality", show_default=True)
@click.option("--context", type=click.IntRange(1), help="Tokens of a sequence.  [default: 2048]")
@click.option("--batch", type=click.IntRange(1), help="Sequences at a time.  [default: 1]")
@with_common
def advise_command(common: Common, model: str, device: Optional[str], goal: str, context: Optional[int], batch: Optional[int]) -> None:
    """Chooses how to store MODEL, a directory or a config.json, for a device and a goal, and says why."""
    opened = open_shapes(model, common)
    here = common.context.devices
    name, memory = device_memory(device or here[-1 if len(here) > 1 else 0].name, common)
    known = {gpu["name"]: gpu["bandwidth"] for gpu in common.context.device_report()["known_gpus"]}
    bandwidth = known.get(name) or next((d.bandwidth for d in here if d.name == name), 0)
    result = advise(opened, memory, bandwidth, goal, MemoryQuery(seq_len=context or 0, batch=batch or 0))
    command = _command(model, result)
    common.emit({"command": "advise", "model": model, "device": name, "memory": memory, "goal": goal, **asdict(result), "do": command},
                lambda console: _show(console, name, memory, result, command))


def _command(model: str, result: Advice) -> Optional[str]:
    if result.chosen is None or result.chosen.recipe.method == "keep":
        return None
    return f"qz quantize {model} OUT --scheme {result.chosen.recipe.weights} --method {result.chosen.recipe.method}"


def _show(console: Console, name: str, memory: int, result: Advice, command: Any) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("weights", "method", "GiB", "fits", "KL e-3", "tokens/s at most", "loaders"):
        table.add_column(title, justify="right" if title in {"GiB", "KL e-3", "tokens/s at most"} else "left")
    for o in result.options:
        mark = "* " if o is result.chosen else "  "
        table.add_row(mark + o.recipe.weights, o.recipe.method, gib(o.memory), "yes" if o.fits else "no",
                      "-" if o.recipe.kl is None else f"{o.recipe.kl:g}", "-" if o.tokens_per_s is None else f"{o.tokens_per_s:.0f}",
                      o.recipe.loaders)
    console.print(f"{name}, {gib(memory)} GiB")
    console.print(table)
    for reason in result.reasons:
        console.print(f"- {reason}")
    if command:
        console.print(f"do: {command}")
