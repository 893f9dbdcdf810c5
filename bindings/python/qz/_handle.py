"""What every handle of the library has in common: it is freed once, by close(), `with`, or the collector, in any order."""
from __future__ import annotations

from typing import Any, TypeVar

from ._library import ffi, lib

Self = TypeVar("Self", bound="Handle")


class Handle:
    """Base of Context, Model, Calibration, Plan, Session, Packed. Usable in `with`; using it after close() is a ValueError."""

    _kind = ""  # "qz_model": its free function is qz_model_free

    def __init__(self, pointer: Any) -> None:
        self._cdata = ffi.gc(pointer, getattr(lib, f"{self._kind}_free"))

    @property
    def _pointer(self) -> Any:
        if self._cdata is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._cdata

    def close(self) -> None:
        """Frees the handle now. What was made from it stays usable. A second close() does nothing."""
        if self._cdata is not None:
            ffi.release(self._cdata)
            self._cdata = None

    def __reduce__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or copied: its memory is this process's. Hand over what it was made "
                        "from, a path or arrays, and make it again there")

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
