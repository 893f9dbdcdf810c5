"""Context: threads, limits, and where the library's messages go. Shared freely between threads."""
from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ._call import check, c_string, string, struct
from ._handle import Handle
from ._library import ffi, lib

#: Everything the library has to say goes to the logger "qz", warnings first of all.
logger = logging.getLogger("qz")
_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG}


# One for all contexts and never freed: a context lives on inside the handles that were made from it.
@ffi.callback("qz_log_fn")
def _on_log(_: Any, level: int, text: Any) -> None:
    logger.log(_LEVELS.get(level, logging.DEBUG), "%s", string(text))


@dataclass(frozen=True)
class Device:
    """What there is to compute on."""

    name: str  #: "AMD EPYC"
    arch: str  #: instruction set of the kernels: "avx512" "avx2" "ref"
    units: int  #: cores that the affinity mask and the cgroup's quota allow
    memory_total: int  #: bytes
    memory_free: int  #: bytes available now


class Context(Handle):
    """Threads and limits for everything that is made with it.

    threads: 0 = what the affinity mask and the cgroup's quota allow.
    settings: limits on hostile files and knobs, as qz_context_set() has them: {"limits.hidden": "65536"}.
    """

    _kind = "qz_context"

    def __init__(self, threads: int = 0, settings: Optional[Mapping[str, object]] = None) -> None:
        out = ffi.new("qz_context **")
        check(lib.qz_context_create(struct("qz_context_options", threads=threads, log=_on_log), out))
        super().__init__(out[0])
        for key, value in (settings or {}).items():
            check(lib.qz_context_set(self._pointer, c_string(key), c_string(str(value))))

    @property
    def devices(self) -> list[Device]:
        """At least one: the CPU."""
        return [self._device(i) for i in range(lib.qz_device_count(self._pointer))]

    def _device(self, i: int) -> Device:
        info = struct("qz_device_info")
        check(lib.qz_device_get(self._pointer, i, info))
        return Device(string(info.name), string(info.arch), info.units, info.memory_total, info.memory_free)


_default: Optional[Context] = None
_lock = threading.Lock()


def default_context() -> Context:
    """The context of every call that is given none: made when first needed."""
    global _default
    with _lock:
        if _default is None:
            _default = Context()
        return _default
