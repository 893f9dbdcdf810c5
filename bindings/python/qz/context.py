"""Context: threads, limits, and where the library's messages go. Shared freely between threads."""
from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ._call import check, c_string, string, struct, text_of
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
    arch: str  #: CPU: instruction set of the kernels: "avx512_bf16" "avx2" "ref" ...; GPU: "sm_90"
    units: int  #: CPU: cores that the affinity mask and the cgroup's quota allow; GPU: CUDA cores
    memory_total: int  #: bytes
    memory_free: int  #: bytes available now
    bandwidth: int = 0  #: bytes per second by the vendor's figures, 0 = not known
    kind: str = "cpu"  #: or "cuda"
    index: int = 0


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
        """At least one: the CPU. NVIDIA GPUs follow."""
        return [self._device(i) for i in range(lib.qz_device_count(self._pointer))]

    def _device(self, i: int) -> Device:
        info = struct("qz_device_info")
        check(lib.qz_device_get(self._pointer, i, info))
        return Device(string(info.name), string(info.arch), info.units, info.memory_total, info.memory_free, info.bandwidth,
                      "cpu" if info.device.kind == 1 else "cuda", info.device.index)

    def device_report(self) -> dict[str, Any]:
        """All devices with what each multiplies in hardware and why not, and what is missing and how to get it."""
        return json.loads(text_of(lib.qz_device_to_json, self._pointer)[1])

    def measure_bandwidth(self) -> int:
        """Bytes per second that the CPU reads from memory: about a second, 256 MiB."""
        out = ffi.new("uint64_t *")
        check(lib.qz_device_measure(self._pointer, 0, out))
        return out[0]


_default: Optional[Context] = None
_lock = threading.Lock()


def default_context() -> Context:
    """The context of every call that is given none: made when first needed."""
    global _default
    with _lock:
        if _default is None:
            _default = Context()
        return _default
