"""Progress on stderr: a bar on a terminal, now and then a line elsewhere."""
from __future__ import annotations

import time
from typing import Any, Optional

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TaskProgressColumn, TextColumn

from ..progress import Progress

_LINE_EVERY_S = 2.0  # in a log file


class Display:
    """A context manager; inside, it is the function to give as `progress`."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._bar: Optional[Bar] = None
        self._said: Any = None
        self._said_at = 0.0

    def __enter__(self) -> Display:
        if not self._quiet and self._console.is_terminal:
            self._bar = Bar(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"),
                            console=self._console, transient=True)
            self._task = self._bar.add_task("", total=1.0, left="")
            self._bar.start()
        return self

    def __call__(self, p: Progress) -> None:
        if self._bar:
            self._bar.update(self._task, completed=p.fraction, description=f"{_where(p)} {p.module}".rstrip(), left=_left(p))
        elif not self._quiet and (p.phase, p.layer) != self._said and time.monotonic() - self._said_at > _LINE_EVERY_S:
            self._said, self._said_at = (p.phase, p.layer), time.monotonic()
            self._console.print(f"qz: {_where(p)}, {p.fraction:.0%}{', ' if p.eta_s > 0 else ''}{_left(p)}")

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


def _where(p: Progress) -> str:
    return f"{p.phase} layer {p.layer + 1} of {p.layers}" if p.layers and p.layer < p.layers else p.phase


def _left(p: Progress) -> str:
    if p.eta_s <= 0:
        return ""
    seconds = round(p.eta_s)
    return f"{seconds} s left" if seconds < 120 else f"{seconds // 60} min left" if seconds < 7200 else f"{seconds / 3600:.1f} h left"
