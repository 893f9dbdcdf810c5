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
    """What codes stand for, and which weights share a scale.

    bits: 2, 3, 4 or 8 (with float_zero also 1). group: weights that share a scale, 16 ... 1024, or ROW, or TENSOR. asymmetric: zero
    points are stored. scale: type of the scales, "bf16" or "f16"; None = what the format stores. code: "int" (w = scale * (code -
    zero)), "nf4", "fp4", "fp8" (w = scale * table[code]), "llm-int8", or a block code of GGUF, "q4_k". float_zero: zero points are
    floats (HQQ). grouping: "row", "flat" (blocks that cross rows), "strided", "tile"; None = the code's own. nested: scales are codes
    themselves, in blocks of so many. activations: inputs of 8 bits, "token", "tensor" or "outliers"; None = floats.
    """

    bits: int = 4
    group: int = 128
    asymmetric: bool = False
    scale: Optional[str] = None
    code: str = "int"
    float_zero: bool = False
    grouping: Optional[str] = None
    nested: int = 0
    activations: Optional[str] = None

    @classmethod
    def preset(cls, name: str) -> Scheme:
        """The scheme that a name stands for: "w4g128", "w3g64", "w4g32a" (asymmetric), "w4g64f" (float zero points), "w8" (per row),
        "w8tensor", "w8a8" (8-bit inputs), "nf4", "nf4-dq", "fp4", "fp8", "fp8b128" (tiles), "llm-int8", "q4_0", "q4_k" and
        the other block codes of GGUF.

        >>> qz.Scheme.preset("w3g64a")
        Scheme(bits=3, group=64, asymmetric=True, scale=None, code='int', float_zero=False, grouping=None, nested=0, activations=None)
        >>> qz.Scheme.preset("w5")
        Traceback (most recent call last):
        qz.errors.InvalidArgument: ...
        """
        out = struct("qz_scheme")
        check(lib.qz_scheme_preset(c_string(name), out))
        scale = names.word(names.DTYPES, out.scale) if out.scale else None
        return cls(out.bits or 4, out.group or 128, bool(out.asymmetric), scale, names.word(names.CODES, out.code),
                   bool(out.float_zero), cls._grouping(out), out.nested,
                   names.word(names.ACTIVATIONS, out.activations) if out.activations else None)

    @staticmethod
    def _grouping(scheme: Any) -> Optional[str]:
        """None where it is the code's own."""
        own = lib.QZ_GROUPING_FLAT if scheme.code in {lib.QZ_CODE_NF4, lib.QZ_CODE_FP4} else lib.QZ_GROUPING_ROW
        return None if scheme.grouping == own else names.word(names.GROUPINGS, scheme.grouping)

    def __str__(self) -> str:
        if self.code in names.BLOCKS:
            return self.code
        if self.code != "int":
            return self.code if self.group < 0 else f"{self.code}, {self.group} a scale"
        group = {ROW: "row", TENSOR: "tensor"}.get(self.group, f"g{self.group}")
        return f"w{self.bits}{group}{'f' if self.float_zero else 'a' if self.asymmetric else ''}"

    def _struct(self) -> Any:
        code = int(self.code) if self.code.isdigit() else names.number(names.CODES, self.code, "code")
        return struct("qz_scheme", code=code, bits=self.bits, group=self.group, asymmetric=int(self.asymmetric),
                      scale=names.number(names.DTYPES, self.scale, "scale"), float_zero=int(self.float_zero),
                      grouping=names.number(names.GROUPINGS, self.grouping, "grouping"), nested=self.nested,
                      activations=names.number(names.ACTIVATIONS, self.activations, "activations"))


SchemeLike = Scheme | str


def as_scheme(scheme: Optional[SchemeLike]) -> Optional[Scheme]:
    """A Scheme from itself or from the name of a preset; None stays None, the library's default."""
    return Scheme.preset(scheme) if isinstance(scheme, str) else scheme
