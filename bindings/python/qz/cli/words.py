"""How the words of the command line are read: schemes, rules, sizes."""
from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Optional

import click

from .. import defaults
from ..errors import Error
from ..names import METHODS, PRODUCTS
from ..plan import GptqOptions, Rule
from ..scheme import ROW, TENSOR, Scheme

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class Size(click.ParamType):
    """Bytes: 5GB, 512MiB, 100000."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?B)?", str(value), flags=re.I)
        if not match:
            self.fail(f"{value!r} is not a size such as 5GB or 512MiB", param, ctx)
        return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


class Group(click.ParamType):
    """Columns that share a scale: a number, "row" or "tensor"."""

    name = "group"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if value in {"row", "tensor"}:
            return ROW if value == "row" else TENSOR
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of columns, 'row' or 'tensor'", param, ctx)


class Strength(click.ParamType):
    """A number from 0 to 4, or "off"."""

    name = "strength"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            number = 0.0 if value == "off" else float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 4:
            self.fail(f"{value!r} is not a number from 0 to 4, or 'off'", param, ctx)
        return number


def scheme_from(name: Optional[str], bits: Optional[int], group: Optional[int], asymmetric: Optional[bool]) -> Scheme:
    """--scheme, with --bits, --group and --symmetric/--asymmetric on top of it."""
    scheme = preset(name or defaults.SCHEME)
    return replace(scheme, bits=scheme.bits if bits is None else bits, group=scheme.group if group is None else group,
                   asymmetric=scheme.asymmetric if asymmetric is None else asymmetric)


def preset(name: str) -> Scheme:
    try:
        return Scheme.preset(name)
    except Error as problem:
        raise click.UsageError(str(problem)) from None


def parse_rule(text: str, base: Rule) -> tuple[str, Rule]:
    """GLOB=SPEC, where SPEC is "keep", a method, a scheme, or METHOD:SCHEME; what it does not say is as in `base`."""
    glob, equals, spec = text.rpartition("=")
    if not equals or not glob or not spec:
        raise click.UsageError(f"--rule {text!r} is not GLOB=SPEC, such as 'lm_head=keep' or '*.layers.0.*=w8g128'")
    method, colon, scheme = spec.partition(":")
    if not colon and method not in METHODS:
        return glob, replace(base, scheme=preset(spec))
    if method not in METHODS:
        raise click.UsageError(f"--rule {text!r}: {method!r} is not one of {', '.join(METHODS)}")
    return glob, replace(base, method=method, scheme=preset(scheme) if colon else base.scheme)


_ORDERS = {"none": "none", "static": "static", "dynamic": "g_idx"}


def gptq_options(act_order: Optional[str], allow_rtn_fallback: bool, **levers: Any) -> Optional[GptqOptions]:
    """The solver's options, None if the user named none of them."""
    named = {field: value for field, value in levers.items() if value is not None}
    if act_order:
        named["order"] = _ORDERS[act_order]
    if allow_rtn_fallback:
        named["allow_rtn_fallback"] = True
    return GptqOptions(**named) if named else None


products_option = click.option("--products", type=click.Choice(list(PRODUCTS)), default="exact", show_default=True,
                               help="What layers multiply: inputs as they are, or rounded to 16 or 8 bits for speed.")
