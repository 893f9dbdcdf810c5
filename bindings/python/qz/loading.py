"""Will it load? What loaders are known to refuse, of a plan before it is run or of anybody's directory."""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Optional

from . import names
from ._call import c_string, struct, text_of
from ._library import lib
from .model import Model
from .plan import Plan

LOADERS = ("vllm", "transformers", "llama.cpp", "bitsandbytes")


@dataclass(frozen=True)
class Finding:
    """What a loader would refuse (an error) or do slowly (a warning), and who says so."""

    severity: str
    module: str  #: "" = the whole model
    text: str
    source: str


def check_loading(what: Model | Plan, loader: str, *, tensor_parallel: int = 1, capability: int = 0,
                  format: Optional[str] = None) -> list[Finding]:
    """Findings of a directory (Model) or of what a Plan would make in `format`. capability: of the GPU, 90 for 9.0; 0 = not known.
    InvalidArgument: a loader that the rules do not know. Unsupported: the format cannot store the plan."""
    options = struct("qz_check_options", tensor_parallel=tensor_parallel, capability=capability,
                     format=names.number(names.FORMATS, format, "format"), loader=c_string(loader))
    function = lib.qz_model_check if isinstance(what, Model) else lib.qz_plan_check
    status, text = text_of(function, what._pointer, options, allowed=(lib.QZ_STATUS_UNSUPPORTED,))
    if not text:
        from ._call import check
        check(status)
    return [Finding(**finding) for finding in json.loads(text)["findings"]]
