"""Curves of memory over the context, drawn by matplotlib (an optional package)."""
from __future__ import annotations

import html
import io
import pathlib
from dataclasses import replace
from typing import Any, Optional

import click

from ..errors import Unsupported
from ..estimates import MemoryQuery
from ..estimates import estimate as estimate_memory
from ..model import Model

_POINTS = 33
_BATCHES = ("-", "--", ":")  # line styles


def plot_context(path: str, title: str, model: Model, queries: list[MemoryQuery], room: Optional[tuple[str, int]],
                 measured: Optional[list[tuple[str, int, int]]] = None) -> None:
    """A curve for each way to store the weights at the batch asked for and at 8 times it, a line for the device. measured: (name, context,
    bytes) of runs that were made, as points."""
    kind = pathlib.Path(path).suffix
    if kind not in {".html", ".svg", ".png"}:
        raise click.UsageError(f"--plot {path!r} must end in .html, .svg or .png")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Unsupported("--plot needs the Python package matplotlib: pip install 'qz[plot]'") from None
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    longest = model.info.max_seq
    run = queries[0].goal == "quantize"  # of libqz itself: host memory, over the calibration
    contexts = sorted({max(1, longest * i // (_POINTS - 1)) for i in range(_POINTS)})
    batch = queries[0].batch or 1
    if measured and any(not 0 < context <= longest for _, context, _ in measured):
        raise click.UsageError(f"--measured: expected 1 to {longest} tokens, the model's positions")
    for color, weights in enumerate(dict.fromkeys(query.weights for query in queries)):
        for style, factor in zip(_BATCHES, (1, 8)):
            query = replace(queries[0], weights=weights, batch=batch * factor)
            found = [estimate_memory(model, replace(query, seq_len=context)) for context in contexts]
            sizes = [(one.host if run else one.device) / 2**30 for one in found]
            name = f"{batch * factor} sequences" if run else f"{weights or 'as stored'}, batch {batch * factor}"
            axes.plot(contexts, sizes, style, color=f"C{color}", label=name)
    if room:
        axes.axhline(room[1] / 2**30, color="black", linewidth=1, label=f"{room[0]}: {room[1] / 2**30:.1f} GiB")
    for name, context, size in measured or []:
        axes.plot([context], [size / 2**30], "o", color="black", label=f"measured: {name}")
    axes.set(title=title, xlabel="tokens of a calibration sequence" if run else "context, tokens",
             ylabel="host memory, GiB" if run else "device memory, GiB", xlim=(0, longest))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _write(figure, pathlib.Path(path), kind, title)


def _write(figure: Any, path: pathlib.Path, kind: str, title: str) -> None:
    if kind != ".html":
        figure.savefig(path, metadata={"Date": None} if kind == ".svg" else None)
        return
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    path.write_text(f"<!doctype html>\n<meta charset='utf-8'>\n<title>{html.escape(title)}</title>\n{svg[svg.index('<svg'):]}")
