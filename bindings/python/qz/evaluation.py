"""Is it still good? Perplexity, and the divergence from a reference."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional

from . import names
from ._call import string, struct
from ._library import ffi, lib
from .calibration import Calibration
from .model import Model
from .progress import ProgressFunction, long_call


@dataclass(frozen=True)
class Evaluation:
    """What perplexity() measured. The last three are None without a reference."""

    perplexity: float  #: exp of the mean negative log-likelihood
    perplexity_error: float  #: its standard error, by bootstrap over windows
    tokens: int  #: scored
    tokens_per_s: float
    protocol: str  #: "window-256", "strided-512/256": perplexities of different protocols cannot be compared
    token_hash: str  #: SHA-256 of the text
    kl_to_reference: Optional[float]  #: mean over tokens of KL(reference || model), nats
    kl_p99: Optional[float]  #: its 99th percentile
    top1_agreement: Optional[float]  #: how often the most likely token is the reference's, 0 ... 1


def perplexity(model: Model, text: Calibration, reference: Optional[Model] = None, *, window: int = 0, stride: int = 0,
               products: str = "exact", progress: Optional[ProgressFunction] = None) -> Evaluation:
    """Perplexity of a model on a text, and its divergence from a reference with the same vocabulary.

    text: one sequence is cut into windows; several are windowed one by one. window: tokens, 0 = min(max_seq, 2048). stride: 0 =
    window, no overlap, remainder dropped, every token but a window's first scored; smaller: sliding windows, only tokens that are
    new to a window are scored. products: how the model multiplies, as of Session; the reference is exact. InvalidArgument if the text does not fill a window.
    """
    out = struct("qz_eval")
    kind = names.number(names.PRODUCTS, products, "products")

    def call(callback: Any) -> int:
        options = struct("qz_eval_options", window=window, stride=stride, products=kind, progress=callback)
        return lib.qz_eval_perplexity(model._pointer, reference._pointer if reference is not None else ffi.NULL, text._pointer, options,
                                      out)

    long_call(progress, call)
    return Evaluation(out.perplexity, out.perplexity_error, out.tokens, out.tokens_per_s, string(out.protocol), string(out.token_hash),
                      _number(out.kl_to_reference), _number(out.kl_p99), _number(out.top1_agreement))


def _number(value: float) -> Optional[float]:
    return None if math.isnan(value) else value
