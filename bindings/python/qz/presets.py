"""Presets: a scheme, the method that makes it and the format that its loaders read, under one name."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Preset:
    """data: whether calibration tokens are needed. bits: stored for one weight of a large matrix, scales and zero points included."""

    scheme: str
    method: str
    format: str
    bits: float
    data: bool
    loaders: str
    transform: Optional[str] = None


_HF = "transformers"
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
