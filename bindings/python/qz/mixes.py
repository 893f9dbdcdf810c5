"""GGUF's mixes: which modules of a model get more bits than the rest, as llama.cpp assigns them.

Names and rules are those of llama-quantize (llama.cpp, src/llama-quant.cpp). A code whose blocks do not divide a module's rows is
replaced as llama.cpp does it.
"""
from __future__ import annotations

from typing import Callable, Optional

from .errors import Unsupported
from .model import Model, ModuleInfo

#: Where rows are no multiple of 256.
_FALLBACK = {"q2_k": "q4_0", "q3_k": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0", "iq4_xs": "iq4_nl"}
_K_BLOCK, _BLOCK = 256, 32


def _more_bits(layer: int, layers: int) -> bool:
    """The first and last eighth, and every third layer between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _q4_k_m(role: str, layer: int, layers: int, grouped: int) -> Optional[str]:
    return "q6_k" if role in {"v", "qkv", "down"} and _more_bits(layer, layers) else None


def _q5_k_m(role: str, layer: int, layers: int, grouped: int) -> Optional[str]:
    return _q4_k_m(role, layer, layers, grouped)


def _q4_k_s(role: str, layer: int, layers: int, grouped: int) -> Optional[str]:
    if role == "v" and layer < 4:
        return "q5_k"
    return "q5_k" if role == "down" and layer < layers // 8 else None


def _q3_k_m(role: str, layer: int, layers: int, grouped: int) -> Optional[str]:
    if role == "v":
        return "q5_k" if layer < 2 else "q4_k"
    if role == "down":
        return "q5_k" if layer < layers // 16 else "q4_k"
    return "q4_k" if role in {"o", "qkv"} else None


def _q2_k(role: str, layer: int, layers: int, grouped: int) -> Optional[str]:
    if role == "v":
        return "q4_k" if grouped >= 4 else "q3_k"
    return "q3_k" if role in {"down", "o", "qkv"} else None


def _uniform(role: str, layer: int, layers: int, grouped: int) -> Optional[str]:
    return None


_Choice = Callable[[str, int, int, int], Optional[str]]
#: mix -> its code, and what modules of a role get instead.
MIXES: dict[str, tuple[str, _Choice]] = {
    "q2_k": ("q2_k", _q2_k), "q3_k_s": ("q3_k", _uniform), "q3_k_m": ("q3_k", _q3_k_m), "q4_k_s": ("q4_k", _q4_k_s),
    "q4_k_m": ("q4_k", _q4_k_m), "q5_k_s": ("q5_k", _uniform), "q5_k_m": ("q5_k", _q5_k_m), "q6_k": ("q6_k", _uniform),
    "iq4_xs": ("iq4_xs", _uniform), "iq4_nl": ("iq4_nl", _uniform), "q4_0": ("q4_0", _uniform), "q4_1": ("q4_1", _uniform),
    "q5_0": ("q5_0", _uniform), "q5_1": ("q5_1", _uniform), "q8_0": ("q8_0", _uniform),
}


def _fitting(code: str, module: ModuleInfo) -> str:
    if module.cols % _K_BLOCK != 0:
        code = _FALLBACK.get(code, code)
    if module.cols % _BLOCK != 0:
        raise Unsupported(f"{module.name}: rows of {module.cols} weights, GGUF's blocks have {_BLOCK}")
    return code


def mix_rules(model: Model, mix: str) -> list[tuple[str, str]]:
    """(full module name, code) for the modules within blocks whose code differs from the mix's own."""
    code, choose = MIXES[mix]
    info = model.info
    rules = []
    for module in model.modules:
        if module.layer < 0 or module.role in {"router", "shared_scale"}:
            continue
        wanted = choose(module.role, module.layer, info.layers, info.heads // max(1, info.kv_heads)) or code
        fitting = _fitting(wanted, module)
        if fitting != code:
            rules.append((module.name, fitting))
    return rules
