"""qz convert: the same codes in another format."""
from __future__ import annotations

import time
from typing import Optional

import click

from ..model import Model
from ..names import FORMATS
from .common import Common, pairs, with_common
from .words import Size


@click.command(short_help="The same codes in another format.")
@click.argument("directory", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), required=True, help="plain: dequantized, in the checkpoint's type.")
@click.option("--allow-loss", is_flag=True, help="What the format cannot hold exactly is rounded to the nearest that it can.")
@click.option("--overwrite", is_flag=True, help="OUT may exist.")
@click.option("--shard-size", type=Size(), default=None, show_default="5GB; of GGUF one file")
@with_common
def convert(common: Common, directory: str, out: str, format_: str, allow_loss: bool, overwrite: bool,
            shard_size: Optional[int]) -> None:
    """Writes the quantized model in DIRECTORY to OUT in another format. Codes are moved, not solved anew.

    What the format cannot hold exactly is an error that says so, before anything is written; --allow-loss rounds it.
    """
    started = time.monotonic()
    model = Model.open(directory, context=common.context)
    before = model.info.format
    lost = model.save_losses(format_) if allow_loss and format_ != "plain" else {}
    with common.progress() as progress:
        model.save(out, format=format_, overwrite=overwrite, shard_bytes=shard_size or 0, allow_loss=allow_loss, progress=progress)
    document = {"command": "convert", "directory": directory, "out": out, "from": before, "to": format_, "lost": lost,
                "seconds": time.monotonic() - started}
    common.emit(document, lambda console: console.print(pairs(_rows(out, format_, before, lost))))


def _rows(out: str, format_: str, before: str, lost: dict[str, str]) -> list[tuple[str, str]]:
    exact = f"no: {len(lost)} modules, the first {next(iter(lost))}: {next(iter(lost.values()))}" if lost else "yes"
    return [("written", f"{out} ({format_}, was {before})")] + ([] if format_ == "plain" else [("exact", exact)])
