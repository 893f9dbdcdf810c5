"""Plan: per module, what is stored and how the codes are chosen; and the run that does it."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from . import names
from ._call import check, c_string, struct, text_of
from ._handle import Handle
from ._library import ffi, lib
from .calibration import Calibration
from .errors import InvalidArgument
from .model import Model
from .progress import ProgressFunction, long_call
from .scheme import SchemeLike, as_scheme


@dataclass(frozen=True)
class GptqOptions:
    """The levers of the GPTQ solver. None = the library's default, which is what measured best (docs/accuracy.md)."""

    block: Optional[int] = None  #: columns that are updated lazily together
    order: Optional[str] = None  #: "none", "static" (by falling diag(H), free at run time), "g_idx" (stored)
    sweeps: Optional[int] = None  #: coordinate-descent sweeps over the codes; 0 = none
    search: Optional[bool] = None  #: range search weighted by diag(H) and the size of the weights instead of min-max
    signed_grid: Optional[bool] = None  #: symmetric scales may be negative
    refit: Optional[bool] = None  #: least-squares refit of the scales after the sweeps
    metric: Optional[int] = None  #: calibration sequences whose gradients say which outputs matter; 0 = all matter the same
    metric_ridge: Optional[float] = None  #: added to the metric's diagonal, of its mean, above 0
    allow_rtn_fallback: bool = False  #: a Hessian that no damping repairs means RTN for that module, and the report says so
    damp: Optional[float] = None  #: of mean diag(H), above 0
    drift: Optional[float] = None  #: strength of the correction for the drift of the inputs, 0 = off
    residual: Optional[float] = None  #: strength of the correction for the error in the residual stream, 0 = off

    def _struct(self) -> Any:
        for name, value in (("damp", self.damp), ("metric_ridge", self.metric_ridge)):
            if value is not None and not value > 0:
                raise InvalidArgument(f"{name} is {value}, expected a number above 0")
        return struct("qz_gptq_options", block=self.block, order=names.number(names.ORDERS, self.order, "order"),
                      sweeps=_or_off(self.sweeps), search=_tri(self.search), signed_grid=_tri(self.signed_grid), refit=_tri(self.refit),
                      metric=_or_off(self.metric), metric_ridge=self.metric_ridge, damp=self.damp, drift=_or_off(self.drift),
                      residual=_or_off(self.residual), allow_rtn_fallback=int(self.allow_rtn_fallback))


def _tri(value: Optional[bool]) -> int:
    """C's tri-state: 0 = default, 1 = on, -1 = off."""
    return 0 if value is None else 1 if value else -1


def _or_off(value: Any) -> Any:
    """C's 0 is the default, so "none of it" is -1."""
    return -1 if value == 0 else value


@dataclass(frozen=True)
class AwqOptions:
    """The levers of AWQ. None = the library's default."""

    grid: Optional[int] = None  #: ratios that are tried
    duo_scaling: Optional[bool] = None  #: the weights' magnitudes count too
    search_clip: Optional[bool] = None  #: rounding to nearest searches clipped ranges

    def _struct(self) -> Any:
        return struct("qz_awq_options", grid=self.grid, duo_scaling=_tri(self.duo_scaling), search_clip=_tri(self.search_clip))


@dataclass(frozen=True)
class Rule:
    """What to do with the modules that a glob matches.

    method: "keep" (leave as it is), "rtn", "mse", "hqq", "gptq", None = GPTQ if there are calibration tokens, else RTN.
    scheme: a Scheme or the name of a preset; None = 4 bit, group 128, symmetric.
    transform: "awq" or "smoothquant", a rescaling before codes are chosen; None = none. alpha: SmoothQuant's, 0 ... 1; None = searched.
    """

    method: Optional[str] = None
    scheme: Optional[SchemeLike] = None
    gptq: Optional[GptqOptions] = None
    transform: Optional[str] = None
    awq: Optional[AwqOptions] = None
    alpha: Optional[float] = None

    def _struct(self) -> Any:
        scheme = as_scheme(self.scheme)
        smooth = struct("qz_smooth_options", fixed=1, alpha=self.alpha) if self.alpha is not None else None
        return struct("qz_rule", method=names.number(names.METHODS, self.method, "method"), scheme=scheme and scheme._struct(),
                      gptq=self.gptq and self.gptq._struct(), transform=names.number(names.TRANSFORMS, self.transform, "transform"),
                      awq=self.awq and self.awq._struct(), smooth=smooth)


class Plan(Handle):
    """Rules for the linear layers of a model. A new plan quantizes all but the head to 4 bit, group 128."""

    _kind = "qz_plan"

    def __init__(self, model: Model) -> None:
        out = ffi.new("qz_plan **")
        check(lib.qz_plan_create(model._pointer, out))
        super().__init__(out[0])
        self._model = model

    @classmethod
    def from_json(cls, model: Model, rules: str | Mapping[str, Any]) -> Plan:
        """{"rules": [{"glob": "*", "method": "gptq", "scheme": "w4g128", "gptq": {"damp": 0.01}}]} as text or as dict."""
        text = (rules if isinstance(rules, str) else json.dumps(rules)).encode()
        out = ffi.new("qz_plan **")
        check(lib.qz_plan_from_json(model._pointer, text, len(text), out))
        plan = cls.__new__(cls)
        Handle.__init__(plan, out[0])
        plan._model = model
        return plan

    def to_json(self) -> dict[str, Any]:
        """The rules as from_json() takes them."""
        return json.loads(text_of(lib.qz_plan_to_json, self._pointer)[1])

    def add(self, glob: str, method: Optional[str] = None, scheme: Optional[SchemeLike] = None, gptq: Optional[GptqOptions] = None,
            transform: Optional[str] = None, awq: Optional[AwqOptions] = None, alpha: Optional[float] = None) -> Plan:
        """Adds a rule for the modules whose full name matches glob (* any characters, ? one, [...] one of a set); the last match
        wins. A glob that matches nothing is InvalidArgument. The head is matched by its name, not by "*". Returns the plan."""
        check(lib.qz_plan_add_rule(self._pointer, c_string(glob), Rule(method, scheme, gptq, transform, awq, alpha)._struct()))
        return self

    def set_budget(self, calibration: Calibration, bits_per_weight: float, *, format: Optional[str] = None,
                   candidates: Sequence[str] = (), seed: int = 0, progress: Optional[ProgressFunction] = None) -> Plan:
        """Mixed precision: gives each layer in a block the scheme with which the model loses least at this size, as one rule each.
        candidates: names of schemes, () = from 2 to 8 bit. The first call measures every layer with every candidate; further calls
        with other budgets only assign. Returns the plan."""

        def call(callback: Any) -> int:
            options = struct("qz_budget_options", format=names.number(names.FORMATS, format, "format"), bits_per_weight=bits_per_weight,
                             candidates=" ".join(candidates) or None, seed=seed, progress=callback)
            return lib.qz_plan_set_budget(self._pointer, calibration._pointer, options)

        long_call(progress, call)
        return self

    def set_imatrix(self, path: str | os.PathLike[str]) -> Plan:
        """Where the plan rounds to GGUF's block codes, errors count by an importance matrix: a file of llama.cpp's (GGUF or the older .dat)
        or of Calibration.write_imatrix(). BadFile if it holds none of the model's layers. Returns the plan."""
        check(lib.qz_plan_set_imatrix(self._pointer, c_string(os.fspath(path))))
        return self

    def run(self, calibration: Optional[Calibration] = None, *, format: Optional[str] = None,
            stream_to: Optional[str | os.PathLike[str]] = None, overwrite: bool = False, strict: bool = False, shard_bytes: int = 0,
            seed: int = 0, gpu: Optional[int] = None, progress: Optional[ProgressFunction] = None) -> Model:
        """Quantizes. The result carries a report.

        calibration: not needed when no module is solved by GPTQ or rescaled, or has inputs with a stored scale. format: what the result will be stored as, None =
        "compressed-tensors". stream_to: write that directory while the layers finish, in bounded memory, complete or not at all;
        the result is then that directory, opened. overwrite: it may exist. strict: too few tokens are an error, not a warning.
        shard_bytes: 0 = 5 GB, of GGUF one file. seed: of the split into solving and judging tokens. gpu: the index of one that takes what
        its backend can of GPTQ (docs/backends.md); the report's events say what, and why the CPU did the rest.
        Errors: InvalidArgument, Unsupported (the format cannot hold the plan, or no backend computes on the GPU; before any work),
        NumericError, IoError, Busy, DeviceError.
        """
        out = ffi.new("qz_model **")

        def call(callback: Any) -> int:
            options = struct("qz_run_options", format=names.number(names.FORMATS, format, "format"), stream_to=stream_to,
                             overwrite=int(overwrite), strict=int(strict), shard_bytes=shard_bytes, seed=seed, progress=callback)
            if gpu is not None:
                options.device.kind, options.device.index = 2, gpu  # DLPack: CUDA
            return lib.qz_plan_run(self._pointer, calibration._pointer if calibration is not None else ffi.NULL, options, out)

        try:
            long_call(progress, call)
        except BaseException:
            lib.qz_model_free(out[0])  # not NULL if Ctrl-C came in the very last moment
            raise
        return Model(out[0], self._model.context, os.fspath(stream_to) if stream_to is not None else self._model.path)


def gptq(model: Model, calibration: Calibration, scheme: Optional[SchemeLike] = None, options: Optional[GptqOptions] = None,
         **run: Any) -> Model:
    """GPTQ on every linear layer but the head. **run: as Plan.run() has them."""
    with Plan(model) as plan:
        return plan.add("*", "gptq", scheme, options).run(calibration, **run)


def rtn(model: Model, scheme: Optional[SchemeLike] = None, **run: Any) -> Model:
    """Rounds every linear layer but the head to nearest: no calibration, seconds. **run: as Plan.run() has them."""
    with Plan(model) as plan:
        return plan.add("*", "rtn", scheme).run(None, **run)


def awq(model: Model, calibration: Calibration, scheme: Optional[SchemeLike] = None, options: Optional[AwqOptions] = None,
        **run: Any) -> Model:
    """AWQ on every linear layer but the head: scales, then rounding to nearest within clipped ranges. **run: as Plan.run() has them."""
    with Plan(model) as plan:
        return plan.add("*", "rtn", scheme, transform="awq", awq=options).run(calibration, **run)


def smoothquant(model: Model, calibration: Calibration, scheme: SchemeLike = "w8a8", alpha: Optional[float] = None, **run: Any) -> Model:
    """SmoothQuant, then rounding to nearest, on every linear layer but the head. alpha: None = searched for each input.
    **run: as Plan.run() has them."""
    with Plan(model) as plan:
        return plan.add("*", "rtn", scheme, transform="smoothquant", alpha=alpha).run(calibration, **run)
