"""qz imatrix: what the inputs of each layer are worth, for tools that round with it."""
from __future__ import annotations

import pathlib
import time
from typing import Optional

import click

from .. import defaults
from ..errors import InvalidArgument
from ..model import Model
from .common import Common, pairs, with_common
from .quantize import calibration_words, make_calibration


@click.command(short_help="Write llama.cpp's importance matrix.")
@click.argument("model", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--calib", multiple=True, metavar="self|mix|text|FILE", help="As of `qz quantize`.")
@click.option("--samples", type=click.IntRange(1), default=defaults.SAMPLES, show_default=True, help="Calibration sequences.")
@click.option("--length", type=click.IntRange(2), help="Tokens of one; by default by the model's size.")
@click.option("--seed", type=click.IntRange(0), default=defaults.SEED, show_default=True)
@click.option("--overwrite", is_flag=True, help="OUT may exist.")
@with_common
def imatrix(common: Common, model: str, out: str, calib: tuple[str, ...], samples: int, length: Optional[int], seed: int,
            overwrite: bool) -> None:
    """Writes OUT, a GGUF file with the mean square of each input of each linear layer of MODEL.

    llama-quantize --imatrix takes it, and so does qz quantize --imatrix.
    """
    started = time.monotonic()
    mode, files = calibration_words(calib)
    if not overwrite and pathlib.Path(out).exists():
        raise InvalidArgument(f"{out} exists: --overwrite replaces it")
    opened = Model.open(model, context=common.context)
    with common.progress() as progress:
        calibration = make_calibration(common, opened, mode, files, samples, length, seed, progress)
    with common.progress() as progress:
        calibration.write_imatrix(opened, out, progress=progress)
    document = {"command": "imatrix", "model": model, "out": out, "sequences": len(calibration), "tokens": calibration.tokens,
                "seconds": time.monotonic() - started}
    common.emit(document, lambda console: console.print(pairs([("written", f"{out} ({calibration.tokens} tokens)")])))
