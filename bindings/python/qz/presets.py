"""Presets: a scheme, the method that makes it and the format that its loaders read, under one name."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .mixes import MIXES


@dataclass(frozen=True)
class Preset:
    """data: whether calibration tokens are needed. bits: stored for one weight of a large matrix, scales and zero points included; of
    a mix, of its own code. mix: which modules get another scheme (mixes.py); "": none."""

    scheme: str
    method: str
    format: str
    bits: float
    data: bool
    loaders: str
    transform: Optional[str] = None
    mix: str = ""


_HF = "transformers"
_GGUF_BITS = {"q2_k": 2.625, "q3_k": 3.4375, "q4_k": 4.5, "q5_k": 5.5, "q6_k": 6.5625, "iq4_xs": 4.25, "iq4_nl": 4.5, "q4_0": 4.5,
              "q4_1": 5.0, "q5_0": 5.5, "q5_1": 6.0, "q8_0": 8.5}
PRESETS = {
    "w4g128": Preset("w4g128", "gptq", "compressed-tensors", 4 + 16 / 128, True, f"vLLM, {_HF}"),
    "w4g128a": Preset("w4g128a", "gptq", "compressed-tensors", 4 + 20 / 128, True, f"vLLM, {_HF}"),
    "w3g128": Preset("w3g128", "gptq", "compressed-tensors", 3 + 16 / 128, True, _HF),
    "w8": Preset("w8", "gptq", "compressed-tensors", 8, True, f"vLLM, {_HF}"),
    "gptq-w4": Preset("w4g128", "gptq", "gptq", 4 + 20 / 128, True, f"vLLM, {_HF} (GPTQModel)"),
    "awq-layout-w4": Preset("w4g128a", "gptq", "awq", 4 + 20 / 128, True, f"vLLM, {_HF} (GPTQModel)"),
    "awq-w4": Preset("w4g128a", "rtn", "awq", 4 + 20 / 128, True, f"vLLM, {_HF} (GPTQModel)", "awq"),
    "awq-gptq-w4": Preset("w4g128a", "gptq", "awq", 4 + 20 / 128, True, f"vLLM, {_HF} (GPTQModel)", "awq"),
    "int8": Preset("w8", "rtn", "compressed-tensors", 8, False, f"vLLM, {_HF}"),
    "eetq": Preset("w8", "rtn", "eetq", 8, False, f"{_HF} (EETQ, GPUs of sm75 to sm89)"),
    "w8a8": Preset("w8a8", "gptq", "compressed-tensors", 8, True, f"vLLM, {_HF}", "smoothquant"),
    "w8a8-static": Preset("w8a8s", "gptq", "compressed-tensors", 8, True, f"vLLM, {_HF}", "smoothquant"),
    "fp8": Preset("fp8-a8", "rtn", "compressed-tensors", 8, False, f"vLLM, {_HF}"),
    "llm-int8": Preset("llm-int8", "rtn", "bitsandbytes", 8, False, f"{_HF} (bitsandbytes)"),
    "nf4": Preset("nf4", "rtn", "bitsandbytes", 4 + 32 / 64, False, f"{_HF} (bitsandbytes), vLLM"),
    "nf4-dq": Preset("nf4-dq", "rtn", "bitsandbytes", 4 + 8 / 64 + 32 / (64 * 256), False, f"{_HF} (bitsandbytes), vLLM"),
    "nf4-gptq": Preset("nf4", "gptq", "bitsandbytes", 4 + 32 / 64, True, f"{_HF} (bitsandbytes), vLLM"),
    "fp4": Preset("fp4", "rtn", "bitsandbytes", 4 + 32 / 64, False, f"{_HF} (bitsandbytes)"),
    "hqq-w4g64": Preset("w4g64f", "hqq", "hqq", 4 + 32 / 64, False, f"{_HF} (hqq)"),
    "hqq-w3g64": Preset("w3g64f", "hqq", "hqq", 3.2 + 32 / 64, False, f"{_HF} (hqq)"),
    "hqq-w2g64": Preset("w2g64f", "hqq", "hqq", 2 + 32 / 64, False, f"{_HF} (hqq)"),
}
PRESETS.update({name: Preset(code, "rtn" if code == "q8_0" else "gptq", "gguf", _GGUF_BITS[code], code != "q8_0", "llama.cpp", mix=name)
                for name, (code, _) in MIXES.items()})
