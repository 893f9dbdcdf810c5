"""Scheme: what may be stored for one matrix."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from . import names
from ._call import c_string, check, struct
from ._library import lib

ROW, TENSOR = -1, -2  #: group: one scale per row; one for the matrix


@dataclass(frozen=True)
class Scheme:
    """Integer codes on a grid: w = scale * (code - zero).

    bits: 2, 3, 4 or 8. group: columns that share a scale, 16 ... 1024, or ROW, or TENSOR. asymmetric: zero points are stored.
    scale: type of the scales, "bf16" or "f16"; None = what the format stores.
    """

    bits: int = 4
    group: int = 128
    asymmetric: bool = False
    scale: Optional[str] = None

    @classmethod
    def preset(cls, name: str) -> Scheme:
        """The scheme that a name stands for: "w4g128", "w3g64", "w4g32a" (asymmetric), "w8" (per row), "w8tensor"."""
        out = struct("qz_scheme")
        check(lib.qz_scheme_preset(c_string(name), out))
        scale = names.word(names.DTYPES, out.scale) if out.scale else None
        return cls(out.bits or 4, out.group or 128, bool(out.asymmetric), scale)

    def __str__(self) -> str:
        group = {ROW: "row", TENSOR: "tensor"}.get(self.group, f"g{self.group}")
        return f"w{self.bits}{group}{'a' if self.asymmetric else ''}"

    def _struct(self) -> Any:
        return struct("qz_scheme", bits=self.bits, group=self.group, asymmetric=int(self.asymmetric),
                      scale=names.number(names.DTYPES, self.scale, "scale"))


SchemeLike = Scheme | str


def as_scheme(scheme: Optional[SchemeLike]) -> Optional[Scheme]:
    """A Scheme from itself or from the name of a preset; None stays None, the library's default."""
    return Scheme.preset(scheme) if isinstance(scheme, str) else scheme
