"""Finds and loads libqz.so. The only work that importing the package does."""
from __future__ import annotations

import pathlib

from ._cdef import VERSION, ffi

__all__ = ["ffi", "lib", "path", "version"]


def _find() -> pathlib.Path:
    """libqz.so beside the package (a wheel), or build/release/lib of the source tree that the package lies in."""
    package = pathlib.Path(__file__).resolve().parent
    bundled = package / "libqz.so"
    if bundled.is_file():
        return bundled
    tried = [str(bundled)]
    if len(package.parents) > 2 and (package.parents[2] / "include/qz/qz.h").is_file():
        built = package.parents[2] / "build/release/lib/libqz.so"
        if built.is_file():
            return built
        tried.append(f"{built} (./dev build makes it)")
    raise ImportError(f"libqz.so is missing: looked for {' and '.join(tried)}")


def check_version(number: int) -> tuple[int, int, int]:
    """The library's version as three numbers. ImportError if the declarations that this package was made with are newer, or of
    another major version (before 1.0: another minor version, which may change anything)."""
    found = (number // 1_000_000, number // 1000 % 1000, number % 1000)
    same = 1 if VERSION[0] else 2
    if found < VERSION or found[:same] != VERSION[:same]:
        raise ImportError(f"{path}: libqz is version {_dotted(found)}, this package needs {_dotted(VERSION)} or newer, "
                          f"up to the end of {_dotted(VERSION[:same])}.*")
    return found


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


path = _find()
try:
    lib = ffi.dlopen(str(path))
except OSError as problem:
    raise ImportError(f"{path}: cannot be loaded: {problem}") from None
version = check_version(lib.qz_version())
