"""What every command shares: --json, --quiet, --debug, --threads, --set, --memory-log; messages on stderr; one result on stdout."""
from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import sys
from typing import Any, Callable, Optional

import click
from rich.console import Console

from ..context import Context, logger
from ..memory import MemoryMonitor
from .progress import Display


class Common:
    """One run of one command."""

    def __init__(self, as_json: bool, quiet: bool, threads: int, settings: dict[str, str]) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.warnings: list[str] = []
        self.stderr = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
        self._handler = _Messages(self)
        logger.addHandler(self._handler)
        try:
            self.context = Context(threads, settings)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        logger.removeHandler(self._handler)

    def progress(self) -> Display:
        """`with common.progress() as p:` shows what p, a progress function, is told."""
        return Display(self.stderr, self.quiet)

    def emit(self, document: dict[str, Any], show: Callable[[Console], None]) -> None:
        """The result: with --json the document, with the warnings that there were, else what show prints."""
        if self.as_json:
            write_json({**document, "warnings": self.warnings})
        else:
            show(stdout_console())


class _Messages(logging.Handler):
    """Warnings and errors of the library, one line each on stderr; warnings are also kept for --json."""

    def __init__(self, common: Common) -> None:
        super().__init__(logging.WARNING)
        self._common = common

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._common.warnings.append(text)
        self._common.stderr.print(f"qz: {record.levelname.lower()}: {text}")


def with_common(function: Callable[..., Optional[int]]) -> Callable[..., Optional[int]]:
    """Gives a command the shared options; it is called with a Common first and returns its exit status, or None for 0."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
    @click.option("--threads", type=click.IntRange(0, 64), default=0,
                  help="0: what affinity and cgroup allow. The result is the same for any number.")
    @click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", callback=_settings,
                  help="A limit or knob of the library (qz_context_set), such as limits.hidden=65536. Repeatable.")
    @click.option("--memory-log", type=click.Path(), help="Write the memory in use, 50 times a second, to this file.")
    @click.option("--debug", is_flag=True, help="On failure, the Python traceback too.")
    @functools.wraps(function)
    def command(as_json: bool, quiet: bool, threads: int, settings: dict[str, str], memory_log: Optional[str], debug: bool,
                **arguments: Any) -> Optional[int]:
        common = Common(as_json, quiet, threads, settings)
        try:
            with MemoryMonitor(log=memory_log, context=common.context) if memory_log else contextlib.nullcontext():
                return function(common, **arguments)
        finally:
            common.close()

    return command


def _settings(_: Any, __: Any, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE")
    return dict(value.split("=", 1) for value in values)


def write_json(document: dict[str, Any]) -> None:
    """NaN and infinity, which JSON does not have, become null."""
    json.dump(_finite(document), sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def stdout_console() -> Console:
    """In a pipe lines are not cut to a terminal's width."""
    return Console(markup=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)


def pairs(rows: list[tuple[str, str]]) -> str:
    """Lines of names and values."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def megabytes(size: float) -> str:
    return f"{size / 1e6:.2f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def memory_words(memory: dict[str, Any]) -> str:
    """Of a report's "memory": the most that the run's process took, beside what was expected."""
    measured, estimated = memory["measured"], memory["estimated"]
    return f"{megabytes(measured) if measured else 'not'} measured, {megabytes(estimated) if estimated else 'not'} estimated"


def seconds_words(seconds: dict[str, Any]) -> str:
    """Of a report's "seconds": what the parts of a run took."""
    parts = [f"{name} {took:.1f}" for name, took in seconds.items() if name not in {"total", "cpu"} and took]
    return ", ".join(parts) + f" s; {seconds['cpu']:.1f} CPU seconds in all"


def group_words(group: int) -> str:
    return {-1: "row", -2: "tensor", 0: "-"}.get(group, str(group))
