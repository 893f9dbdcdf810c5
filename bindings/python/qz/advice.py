"""Which method, bits and format? A table of recipes with what each measured, filtered by what fits, ranked by the goal."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from .estimates import MemoryQuery, estimate
from .model import Model

GOALS = ("quality", "speed", "memory", "train")


@dataclass(frozen=True)
class Recipe:
    """A way to store the weights. kl: nats per token to the original, 1 = 1e-3, as docs/accuracy.md has it; None: not measured."""

    weights: str
    method: str
    kl: Optional[float]
    loaders: str
    why: str


#: From the best to the smallest. KL: docs/accuracy.md, WikiText-2 test, calibrated on text (GPTQ).
RECIPES = (
    Recipe("bf16", "keep", 0.0, "all", "nothing is lost, nothing is saved"),
    Recipe("w8", "gptq", None, "vLLM, transformers", "half the bytes; the loss of 8 bit is too small for the tables here"),
    Recipe("w4g128", "gptq", 0.168, "vLLM, transformers", "a quarter of the bytes of block weights; the kernels everywhere are for it"),
    Recipe("w3g128", "gptq", 0.716, "transformers", "less than w4 where 4 bit does not fit; vLLM has no kernel for 3 bit"),
    Recipe("w2g64", "gptq", None, "transformers", "the last resort: measure before you use it"),
    Recipe("nf4-dq", "keep", None, "transformers with bitsandbytes", "what QLoRA trains on: no calibration, dequantized on the fly"),
)


@dataclass(frozen=True)
class Option:
    """A recipe on this model: memory in bytes, whether it fits, and the most tokens a second that memory bandwidth allows."""

    recipe: Recipe
    memory: int
    fits: bool
    tokens_per_s: Optional[float]


@dataclass(frozen=True)
class Advice:
    """What to do (None: nothing fits), all that was considered, and the reasons."""

    chosen: Optional[Option]
    options: list[Option]
    reasons: list[str]


# (which recipes are asked, what makes one better: the smallest key wins, and in words)
_RULES = {
    "quality": (lambda r: r.method != "keep" or r.weights == "bf16", lambda o: RECIPES.index(o.recipe), "the least loss that fits"),
    "speed": (lambda r: "vLLM" in r.loaders or r.weights == "bf16", lambda o: o.memory,
              "decoding reads every weight once a token: the fewest bytes that vLLM has kernels for"),
    "memory": (lambda r: r.kl is not None, lambda o: o.memory, "the fewest bytes among the recipes whose loss was measured"),
    "train": (lambda r: r.weights in {"bf16", "nf4-dq"}, lambda o: RECIPES.index(o.recipe),
              "adapters on 16-bit weights if they fit, else on nf4-dq (QLoRA)"),
}


def advise(model: Model, memory: int, bandwidth: int = 0, goal: str = "quality", query: MemoryQuery = MemoryQuery()) -> Advice:
    """memory: bytes of the device; bandwidth: bytes per second, 0 = not known. query: context, batch and so on; its goal and weights are
    set here."""
    wanted, key, words = _RULES[goal]
    options = []
    for recipe in filter(wanted, RECIPES):
        result = estimate(model, replace(query, goal="lora" if goal == "train" else "infer", weights=recipe.weights))
        read = sum(item.bytes for item in result.items if item.kind in {"weights", "scales"} and item.what != "embedding")
        options.append(Option(recipe, result.device, result.device <= memory, bandwidth / read if bandwidth and read else None))
    fitting = [option for option in options if option.fits]
    reasons = [f"goal {goal}: {words}"]
    if not fitting:
        least = min(options, key=lambda o: o.memory)
        reasons.append(f"nothing fits: the least is {least.recipe.weights} with {least.memory / 2**30:.2f} of {memory / 2**30:.2f} GiB")
        return Advice(None, options, reasons)
    chosen = min(fitting, key=key)
    reasons += [f"{o.recipe.weights} does not fit: {o.memory / 2**30:.2f} of {memory / 2**30:.2f} GiB" for o in options if not o.fits]
    reasons.append(f"{chosen.recipe.weights} takes {chosen.memory / 2**30:.2f} GiB: {chosen.recipe.why}")
    if chosen.recipe.kl:
        reasons.append(f"its KL to the original measured {chosen.recipe.kl}e-3 nats a token on a small model (docs/accuracy.md); "
                       f"rounding to nearest 4.2e-3 at 4 bit")
    if chosen.tokens_per_s:
        reasons.append(f"memory bandwidth allows at most {chosen.tokens_per_s:.0f} tokens a second for one sequence")
    return Advice(chosen, options, reasons)
