"""Curves of memory over the context, drawn by plotly (an optional package)."""
from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any, Optional

import click

from ..errors import Unsupported
from ..estimates import MemoryQuery
from ..estimates import estimate as estimate_memory
from ..model import Model

_POINTS = 33


def plot_context(path: str, title: str, model: Model, queries: list[MemoryQuery], room: Optional[tuple[str, int]],
                 measured: Optional[list[tuple[str, int, int]]] = None) -> None:
    """A curve for each way to store the weights and each batch, a line for the device; measured: (name, context, bytes) points."""
    if not path.endswith((".html", ".svg")):
        raise click.UsageError(f"--plot {path!r} must end in .html or .svg")
    try:
        import plotly.graph_objects as graph
    except ImportError:
        raise Unsupported("--plot needs the Python package plotly: pip install 'qz[plot]'") from None
    longest = model.info.max_seq
    contexts = sorted({max(1, longest * i // (_POINTS - 1)) for i in range(_POINTS)})
    figure = graph.Figure()
    for weights in dict.fromkeys(query.weights for query in queries):
        for batch in sorted({queries[0].batch or 1, 8}):
            query = replace(queries[0], weights=weights, batch=batch)
            sizes = [estimate_memory(model, replace(query, seq_len=context)).device / 2**30 for context in contexts]
            figure.add_scatter(x=contexts, y=sizes, mode="lines", name=f"{weights or 'as stored'}, batch {batch}")
    if room:
        figure.add_hline(y=room[1] / 2**30, line_dash="dash", annotation_text=room[0])
    for name, context, size in measured or []:
        figure.add_scatter(x=[context], y=[size / 2**30], mode="markers", name=f"measured: {name}")
    figure.update_layout(title=title, xaxis_title="context, tokens", yaxis_title="device memory, GiB", template="plotly_white")
    _write(figure, pathlib.Path(path))


def _write(figure: Any, path: pathlib.Path) -> None:
    if path.suffix == ".html":
        figure.write_html(path, include_plotlyjs="cdn")
        return
    try:
        figure.write_image(path)
    except (ValueError, RuntimeError) as problem:  # plotly's words: kaleido or a browser is missing
        raise Unsupported(f"{path}: plotly cannot draw SVG here: {str(problem).splitlines()[0]}; .html needs nothing more") from None
