"""Ctrl-C during a long call of the library: the first asks it to stop cleanly, the second ends the process at once."""
from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupt:
    """While inside `with`, SIGINT sets `seen` instead of raising where no exception can pass (a callback from C).

    Only on the main thread, and only where Python's own handler is in charge: a host with a handler of its own keeps it. On the way
    out the handler is restored, and KeyboardInterrupt is raised if a signal was seen.
    """

    def __init__(self) -> None:
        self.seen = False
        self._installed = False

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def _handle(self, *_: Any) -> None:
        self.seen = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # somebody who presses twice means it

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.seen:
            raise KeyboardInterrupt from None
