"""qz eval: perplexity, and the divergence from a reference."""
from __future__ import annotations

from dataclasses import asdict
from typing import Any, Optional

import click
from rich.console import Console

from ..calibration import Calibration
from ..corpus import evaluation_tokens
from ..evaluation import perplexity
from ..model import Model
from .common import Common, pairs, with_common
from .words import products_option


@click.command("eval", short_help="Perplexity, and divergence from a reference.")
@click.argument("model", type=click.Path())
@click.option("--reference", type=click.Path(), help="The model before quantization: KL divergence and agreement with it.")
@click.option("--text", multiple=True, type=click.Path(), metavar="FILE",
              help="Text to evaluate on (.txt, .jsonl). Repeatable: files are joined, then tokenized once.")
@click.option("--tokens", multiple=True, type=click.Path(), metavar="FILE.npy", help="Token ids to evaluate on. Repeatable.")
@click.option("--window", type=click.IntRange(0), default=0, help="Tokens of a window.  [default: the model's positions, at most 2048]")
@click.option("--stride", type=click.IntRange(0), default=0,
              help="Less than the window: windows overlap, only new tokens count.  [default: no overlap]")
@click.option("--limit-tokens", type=click.IntRange(2), help="Use the first N tokens only.")
@products_option
@with_common
def evaluate(common: Common, model: str, reference: Optional[str], text: tuple[str, ...], tokens: tuple[str, ...], window: int, stride: int,
             limit_tokens: Optional[int], products: str) -> None:
    """Measures how well MODEL predicts a text, and how far it is from --reference."""
    if not text and not tokens:
        raise click.UsageError("nothing to evaluate on: give --text FILE or --tokens FILE.npy")
    opened = Model.open(model, context=common.context)
    original = Model.open(reference, context=common.context) if reference else None
    sequences = evaluation_tokens([*text, *tokens], opened.tokenizer() if text else None, limit_tokens)
    measured_on = Calibration.from_tokens(sequences, common.context)
    with common.progress() as progress:
        result = asdict(perplexity(opened, measured_on, original, window=window, stride=stride, products=products, progress=progress))
    common.emit({"command": "eval", "model": model, "reference": reference, "products": products, **result}, lambda console: _show(console, result))


def _show(console: Console, r: dict[str, Any]) -> None:
    rows = [("perplexity", f"{r['perplexity']:.4f} ± {r['perplexity_error']:.4f}")]
    if r["kl_to_reference"] is not None:
        rows += [("KL to reference", f"{r['kl_to_reference']:.6f} nats per token, 99 % below {r['kl_p99']:.6f}"),
                 ("top-1 agreement", f"{r['top1_agreement']:.2%}")]
    rows += [("tokens", f"{r['tokens']} scored, {r['tokens_per_s']:.0f} a second"), ("protocol", r["protocol"]),
             ("text", f"sha256 {r['token_hash']}")]
    console.print(pairs(rows))
