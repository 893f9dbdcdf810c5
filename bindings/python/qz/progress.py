"""Where a long call is, told to a function of the caller; and how such calls are stopped."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

from ._call import check, string
from ._interrupt import Interrupt
from ._library import ffi


@dataclass(frozen=True)
class Progress:
    """Where a long call is."""

    phase: str  #: "sample" "measure" "scale" "calibrate" "solve" "write" "evaluate" "verify"
    module: str  #: full module name, or ""
    layer: int  #: block at hand
    layers: int  #: number of blocks
    fraction: float  #: of the whole call, 0 ... 1
    eta_s: float  #: seconds left, 0 while unknown
    host_bytes: int  #: resident memory of the process now


#: Called about ten times a second on the thread that made the call. A true result stops the call with qz.Cancelled; an exception
#: stops it too and comes out of the call.
ProgressFunction = Callable[[Progress], Any]


def long_call(progress: Optional[ProgressFunction], call: Callable[[Any], int]) -> None:
    """Runs call(qz_progress_fn) -> status, so that Ctrl-C, a true result and an exception of `progress` end it cleanly."""
    raised: list[BaseException] = []
    interrupt = Interrupt()

    @ffi.callback("qz_progress_fn", error=1)
    def on_progress(_: Any, p: Any) -> int:
        if interrupt.seen or raised:
            return 1
        if progress is None:
            return 0
        try:
            stop = progress(Progress(string(p.phase), string(p.module), p.layer, p.layers, p.fraction, p.eta_s, p.host_bytes))
            return int(bool(stop))
        except BaseException as problem:  # an exception cannot cross C: it waits outside
            raised.append(problem)
            return 1

    with interrupt:
        status = call(on_progress)
    if raised:
        raise raised[0]
    check(status)
