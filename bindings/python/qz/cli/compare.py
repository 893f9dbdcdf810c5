"""qz compare: two models side by side."""
from __future__ import annotations

import pathlib
from dataclasses import asdict
from typing import Any, Optional

import click
from rich.console import Console
from rich.table import Table

from ..calibration import Calibration
from ..corpus import evaluation_tokens
from ..evaluation import perplexity
from ..model import Model
from .common import Common, megabytes, with_common


@click.command(short_help="Two models side by side: divergence, perplexity, size, speed.")
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option("--reference", type=click.Path(), help="The model before quantization: KL divergence and agreement of both with it.  [default: A]")
@click.option("--text", multiple=True, type=click.Path(), metavar="FILE", help="Text to evaluate on (.txt, .jsonl). Repeatable.")
@click.option("--tokens", multiple=True, type=click.Path(), metavar="FILE.npy", help="Token ids to evaluate on. Repeatable.")
@click.option("--window", type=click.IntRange(0), default=0, help="Tokens of a window.  [default: the model's positions, at most 2048]")
@click.option("--limit-tokens", type=click.IntRange(2), help="Use the first N tokens only.")
@with_common
def compare(common: Common, a: str, b: str, reference: Optional[str], text: tuple[str, ...], tokens: tuple[str, ...], window: int,
            limit_tokens: Optional[int]) -> None:
    """Measures A and B on the same text, and how far each is from --reference, or B from A without one."""
    if not text and not tokens:
        raise click.UsageError("nothing to evaluate on: give --text FILE or --tokens FILE.npy")
    models = [Model.open(path, context=common.context) for path in (a, b)]
    original = Model.open(reference, context=common.context) if reference else models[0]
    sequences = evaluation_tokens([*text, *tokens], models[0].tokenizer() if text else None, limit_tokens)
    measured_on = Calibration.from_tokens(sequences, common.context)
    sides = []
    for path, model in zip((a, b), models):
        with common.progress() as progress:
            measured = perplexity(model, measured_on, None if model is original else original, window=window, progress=progress)
        sides.append({"model": path, "format": model.info.format, "bytes": _weight_bytes(path), **asdict(measured)})
    common.emit({"command": "compare", "reference": reference or a, "a": sides[0], "b": sides[1]}, lambda console: _show(console, sides))


def _weight_bytes(directory: str) -> int:
    return sum(file.stat().st_size for file in pathlib.Path(directory).glob("*.safetensors"))


def _show(console: Console, sides: list[dict[str, Any]]) -> None:
    def line(name: str, show: Any) -> None:
        table.add_row(name, *(show(side) for side in sides))

    table = Table(box=None, pad_edge=False)
    for heading in ("", *(side["model"] for side in sides)):
        table.add_column(heading, justify="right" if heading else "left")
    line("format", lambda s: s["format"])
    line("weight files", lambda s: megabytes(s["bytes"]))
    line("perplexity", lambda s: f"{s['perplexity']:.4f} ± {s['perplexity_error']:.4f}")
    line("KL to reference", lambda s: "-" if s["kl_to_reference"] is None else f"{s['kl_to_reference']:.6f}")
    line("KL, 99 % below", lambda s: "-" if s["kl_p99"] is None else f"{s['kl_p99']:.6f}")
    line("top-1 agreement", lambda s: "-" if s["top1_agreement"] is None else f"{s['top1_agreement']:.2%}")
    line("tokens a second", lambda s: f"{s['tokens_per_s']:.0f}")
    console.print(table)
