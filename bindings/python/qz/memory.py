"""What is in use: one reading, or a monitor that keeps the peak while something runs."""
from __future__ import annotations

import pathlib
import threading
import time
from dataclasses import asdict, dataclass, fields
from typing import IO, Optional

from ._call import check, struct
from ._library import lib
from .context import Context, default_context


@dataclass(frozen=True)
class MemoryUsage:
    """Bytes in use."""

    host: int  #: resident memory of this process
    host_peak: int  #: the same, at most, since the process started
    cgroup: int  #: everything in the process's cgroup; 0 = the system does not tell
    cgroup_peak: int
    device: int  #: of all NVIDIA GPUs, by all processes

    @classmethod
    def now(cls, context: Optional[Context] = None) -> MemoryUsage:
        usage = struct("qz_memory_usage")
        check(lib.qz_device_usage((context or default_context())._pointer, usage))
        return cls(*(getattr(usage, field.name) for field in fields(cls)))


class MemoryMonitor:
    """Samples the memory in use on a thread of its own.

    `with MemoryMonitor() as monitor: ...`; then monitor.host_peak and monitor.device_peak are the highest samples, in bytes. They
    are of what happened inside the `with`, unlike MemoryUsage.host_peak, which is the process's for ever.

    interval: seconds between samples. log: a file that gets a line of tab-separated numbers for each: seconds, then the fields of
    MemoryUsage, named in the first line.
    """

    def __init__(self, interval: float = 0.02, log: Optional[str | pathlib.Path] = None, context: Optional[Context] = None) -> None:
        if not interval > 0:
            raise ValueError(f"interval is {interval}, expected seconds above 0")
        self.host_peak = self.device_peak = self.samples = 0
        self.before: Optional[MemoryUsage] = None  #: when the monitor started
        self._interval, self._path, self._context = interval, log, context
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._file: Optional[IO[str]] = None

    def __enter__(self) -> MemoryMonitor:
        if self._path is not None:
            self._file = open(self._path, "w", encoding="utf-8")
            self._file.write("\t".join(["seconds", *(field.name for field in fields(MemoryUsage))]) + "\n")
        self._start = time.monotonic()
        self.before = self._sample()
        self._thread = threading.Thread(target=self._run, name="qz-memory-monitor", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        last = self._sample()
        if self.before is not None and last.host_peak > self.before.host_peak:  # a new record: it fell inside, between two samples
            self.host_peak = max(self.host_peak, last.host_peak)
        if self._file is not None:
            self._file.close()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._sample()

    def _sample(self) -> MemoryUsage:
        usage = MemoryUsage.now(self._context)
        self.host_peak, self.device_peak = max(self.host_peak, usage.host), max(self.device_peak, usage.device)
        self.samples += 1
        if self._file is not None:
            numbers = [f"{time.monotonic() - self._start:.3f}", *map(str, asdict(usage).values())]
            self._file.write("\t".join(numbers) + "\n")
        return usage
