"""qz devices: what there is to compute on, what it can do, and why not."""
from __future__ import annotations

from typing import Any

import click
from rich.console import Console, JustifyMethod
from rich.table import Table

from .common import Common, with_common

_GIB = 1 << 30


@click.command(short_help="What there is to compute on.")
@click.option("--measure", is_flag=True, help="Measure the CPU's memory bandwidth: a second, 256 MiB.")
@click.option("--known", is_flag=True, help="The GPUs of the table too, which `qz estimate --device NAME` knows.")
@with_common
def devices(common: Common, measure: bool, known: bool) -> None:
    """Lists the CPU and every NVIDIA GPU, with what each multiplies in hardware, and why not. No CUDA context is made."""
    report = common.context.device_report()
    if measure:
        report["devices"][0]["bandwidth"] = common.context.measure_bandwidth()
    if not known:
        del report["known_gpus"]
    common.emit({"command": "devices", **report}, lambda console: show_devices(console, report))


def show_devices(console: Console, report: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    columns: list[tuple[str, JustifyMethod]] = [("device", "left"), ("name", "left"), ("arch", "left"), ("units", "right"),
                                                ("memory", "right"), ("free", "right"), ("bandwidth", "right")]
    for title, justify in columns:
        table.add_column(title, justify=justify, no_wrap=True)
    names = list(report["devices"][0]["abilities"])
    for name in names:
        table.add_column(name, no_wrap=True)
    for d in report["devices"]:
        table.add_row(_label(d), d["name"], d["arch"], str(d["units"] or "-"), _gib(d["memory_total"]), _gib(d["memory_free"]),
                      f"{d['bandwidth'] / 1e9:.0f} GB/s" if d["bandwidth"] else "-",
                      *({"not known": "?"}.get(d["abilities"][n]["support"], d["abilities"][n]["support"]) for n in names))
    console.print(table)
    for d in report["devices"]:
        console.print()
        for name in names:
            cell = d["abilities"][name]
            console.print(f"{_label(d)} {name}: {cell['support']}, {cell['why']}" + (f" [{cell['source']}]" if cell["source"] else ""))
        for note in d["notes"]:
            console.print(f"{_label(d)}: {note}")
    for m in report["missing"]:
        console.print(f"\nno {m['what']}: {m['why']}\n  {m['get']}")
    if report.get("known_gpus"):
        console.print()
        table = Table(box=None, pad_edge=False)
        for title in ("known GPU", "arch", "memory", "bandwidth", "source"):
            table.add_column(title, justify="right" if title in {"memory", "bandwidth"} else "left")
        for gpu in report["known_gpus"]:
            table.add_row(gpu["name"], gpu["arch"], _gib(gpu["memory_total"]), f"{gpu['bandwidth'] / 1e9:.0f} GB/s", gpu["source"])
        console.print(table)


def _label(device: dict[str, Any]) -> str:
    return f"{device['kind']}:{device['index']}"


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
