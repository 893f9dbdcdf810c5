"""What a quantization run did to each module."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import names
from ._call import check, string, struct
from ._library import lib


@dataclass(frozen=True)
class ModuleReport:
    """One module of a finished run. Errors are mean squares over calibration tokens that the solver did not see, relative to the
    mean square of the module's original output."""

    name: str
    method: str  #: "rtn" "mse" "hqq" "gptq" "keep"
    fell_back: bool  #: GPTQ failed and RTN stands in
    damp_steps: int  #: how often the damping had to be raised
    bits: int
    group: int  #: -1 row, -2 tensor
    asymmetric: bool
    weight_error: float  #: |W - Wq|^2 / |W|^2
    output_error: float  #: of the method's result
    rtn_output_error: float  #: of rounding to nearest, same scheme
    damp: float  #: of mean diag(H)
    drift: float  #: strength that was used
    residual: float  #: strength that was used
    seconds: float
    tokens: int  #: calibration tokens that were used
    bytes_before: int
    bytes_after: int
    transform: str  #: "none" "awq" "smoothquant": what the plan asked for


def read_report(model: Any) -> list[ModuleReport]:
    """All modules of a `const qz_model *`, in the order of the forward pass."""
    return [_module(model, i) for i in range(lib.qz_report_count(model))]


def _module(model: Any, i: int) -> ModuleReport:
    r = struct("qz_module_report")
    check(lib.qz_report_get(model, i, r))
    return ModuleReport(string(r.name), names.word(names.METHODS, r.method), bool(r.fell_back), r.damp_steps, r.bits, r.group,
                        bool(r.asymmetric), r.weight_error, r.output_error, r.rtn_output_error, r.damp, r.drift, r.residual, r.seconds,
                        r.tokens, r.bytes_before, r.bytes_after, names.word(names.TRANSFORMS, r.transform))
