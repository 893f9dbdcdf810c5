"""qz check: will a loader take this directory?"""
from __future__ import annotations

from dataclasses import asdict

import click
from rich.console import Console

from ..errors import BadFile
from ..loading import LOADERS, Finding, check_loading
from ..model import Model
from . import exit_codes
from .common import Common, with_common


@click.command(short_help="Will a loader take this directory?")
@click.argument("directory", type=click.Path())
@click.option("--loader", type=click.Choice(LOADERS), default="vllm", show_default=True)
@click.option("--tp", type=click.IntRange(1, 4096), default=1, show_default=True, help="Tensor-parallel size.")
@click.option("--capability", type=float, help="Compute capability of the GPU, such as 7.5.")
@with_common
def check(common: Common, directory: str, loader: str, tp: int, capability: float | None) -> int:
    """Says what LOADER would refuse in DIRECTORY, whoever wrote it, with the source of every rule. Exit status 1 if something would be."""
    try:
        model = Model.open(directory, context=common.context)
        findings = check_loading(model, loader, tensor_parallel=tp, capability=round(10 * capability) if capability else 0)
    except BadFile as problem:
        findings = [Finding("error", "", str(problem), "the directory itself")]
    ok = all(f.severity != "error" for f in findings)
    common.emit({"command": "check", "directory": directory, "loader": loader, "tensor_parallel": tp, "ok": ok,
                 "findings": [asdict(f) for f in findings]}, lambda console: _show(console, directory, loader, ok, findings))
    return exit_codes.OK if ok else exit_codes.FINDINGS


def _show(console: Console, directory: str, loader: str, ok: bool, findings: list[Finding]) -> None:
    for f in findings:
        console.print(f"{f.severity}: {f.module + ': ' if f.module else ''}{f.text} [{f.source}]")
    console.print(f"{directory}: {f'{loader} should load it' if ok else f'{loader} will NOT load it'}")
