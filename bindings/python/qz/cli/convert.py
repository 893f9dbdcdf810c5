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
@click.option("--overwrite", is_flag=True, help="OUT may exist.")
@click.option("--shard-size", type=Size(), default="5GB", show_default=True)
@with_common
def convert(common: Common, directory: str, out: str, format_: Optional[str], overwrite: bool, shard_size: int) -> None:
    """Writes the quantized model in DIRECTORY to OUT in another format. Codes are moved, not solved anew."""
    started = time.monotonic()
    model = Model.open(directory, context=common.context)
    before = model.info.format
    with common.progress() as progress:
        model.save(out, format=format_, overwrite=overwrite, shard_bytes=shard_size, progress=progress)
    document = {"command": "convert", "directory": directory, "out": out, "from": before, "to": format_,
                "seconds": time.monotonic() - started}
    common.emit(document, lambda console: console.print(pairs([("written", f"{out} ({format_}, was {before})")])))
