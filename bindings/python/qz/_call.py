"""How the C API is called: structs with their size, statuses as exceptions, texts of unknown length."""
from __future__ import annotations

import os
import weakref
from typing import Any

from . import errors
from ._library import ffi, lib

# A struct holds bare pointers to the strings and structs that were put into it: they live as long as it does.
_kept: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


def struct(name: str, **fields: Any) -> Any:
    """A new `name *` with struct_size set and the given fields; str and paths become C strings. None leaves a field zero."""
    pointer = ffi.new(f"{name} *")
    pointer.struct_size = ffi.sizeof(name)
    kept = _kept.setdefault(pointer, [])
    for field, value in fields.items():
        if value is None:
            continue
        if isinstance(value, (str, os.PathLike)):
            value = c_string(value)
        setattr(pointer, field, value)
        kept.append(value)
    return pointer


def c_string(text: str | bytes | os.PathLike[str]) -> Any:
    """Zero-terminated bytes of a text or a path. InvalidArgument if there is a zero inside."""
    data = os.fsencode(text)
    if b"\0" in data:
        raise errors.InvalidArgument(f"{data!r} contains a zero byte")
    return ffi.new("char[]", data)


def string(pointer: Any) -> str:
    """The text behind a `const char *` or in a `char[]`; "" for NULL."""
    return ffi.string(pointer).decode("utf-8", "replace") if pointer else ""


def check(status: int) -> None:
    """Raises what a status other than QZ_STATUS_OK means, in the words of qz_last_error()."""
    if status != lib.QZ_STATUS_OK:
        raise errors.make(status, string(lib.qz_last_error()) or string(lib.qz_status_name(status)))


def text_of(function: Any, *args: Any, allowed: tuple[int, ...] = ()) -> tuple[int, str]:
    """Calls function(*args, buf, cap, need) with room enough; the status (OK or one of `allowed`) and the text."""
    need, capacity = ffi.new("size_t *"), 1 << 16
    while True:
        buffer = ffi.new("char[]", capacity)
        status = function(*args, buffer, capacity, need)
        if status == lib.QZ_STATUS_BUFFER_TOO_SMALL and need[0] > capacity:
            capacity = need[0]
            continue
        if status not in allowed:
            check(status)
        return status, string(buffer)
