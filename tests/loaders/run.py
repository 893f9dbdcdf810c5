"""Do other programs load what libqz writes, and compute the same? `./dev loaders [format ...] [model directory ...]`;
default: all, examples/llama-1m.

Each case quantizes the model into a new directory, which a loader that others wrote then opens: transformers with compressed-tensors
or bitsandbytes, GPTQModel with its torch kernels on the CPU, HQQ. Both sides compute in float32, on text that the model wrote itself.
A case fails if the loader raises, if the perplexities differ by more than 0.1 %, or if a logit differs by more than 0.0001 (0.5 where
inputs are rounded too): on a small model the perplexity alone hardly tells a quantized model from the original.

What the loaders do of their own accord:
- GPTQModel 7.7 rounds AWQ's decoded weights to float16; bitsandbytes 0.50 multiplies 4-bit layers in bfloat16 where the CPU can, and
  rounds inputs of 8-bit layers to float16 first. Here all but the last is float32.
- transformers 5.22 leaves the layers of an HQQ directory random, whoever wrote it; HQQ itself reads it.
- GPTQModel 7.7 takes bfloat16 on the CPU unless told otherwise and rounds the scales, stored as F16, to it; float32 it refuses. Here
  it loads in float16, which keeps the scales, and then computes in float32.
- transformers 5.23.0 with compressed-tensors 0.18 to 0.20 expects zero points of a shape that neither libqz nor llm-compressor writes:
  it opens asymmetric directories only with CompressedTensorsConfig(dequantize=True), which rounds the weights to the type of the
  scales. transformers 5.17, 5.20, 5.21 and 5.22 open them, and so does 5.23.0 with compressed-tensors 0.17.1.
"""
import contextlib
import os
import pathlib
import sys
import tempfile
import traceback

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # GPTQModel 7.7 does not start on two cores without it
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")  # GPTQModel compiles its unpacking: the same arithmetic, minutes later
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bindings/python"))

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import qz

RATIO, LOGIT = 1e-3, 1e-4  # what the perplexities and every logit may differ by
# Where inputs are rounded to 8 bits, the last bit of a sum decides which way one of them goes, and all later layers see that.
ROUNDED, ROUNDED_LOGIT = ("w8a8", "w8a8s", "fp8-a8", "llm-int8"), 0.5
WINDOW, WINDOWS, SAMPLES = 256, 8, 8  # tokens; windows to evaluate, windows to calibrate: enough to load and compare, not to be good


def transformers_model(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)


def gptqmodel_model(directory):
    from gptqmodel import BACKEND, GPTQModel
    model = GPTQModel.load(directory, backend=BACKEND.GPTQ_TORCH, device="cpu", dtype=torch.float16).model
    assert any(type(module).__name__ == "TorchLinear" for module in model.modules()), "nothing is quantized"
    return model.float()


def gptqmodel_awq(directory):
    """Loaded and decoded by GPTQModel; its products would round the decoded weights to float16 first."""
    from gptqmodel import BACKEND, GPTQModel
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm
    model = GPTQModel.load(directory, backend=BACKEND.AWQ_TORCH, device="cpu", dtype=torch.float16).model
    packed = {name: module for name, module in model.named_modules() if "Awq" in type(module).__name__}
    assert packed, "nothing is quantized"
    for name, module in packed.items():
        weight = dequantize_gemm(module.qweight, module.qzeros, module.scales.float(), module.bits, module.group_size)
        plain = torch.nn.Linear(module.in_features, module.out_features, module.bias is not None)
        plain.weight.data = weight.t().contiguous()
        if module.bias is not None:
            plain.bias.data = module.bias.float()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, plain)
    return model.float()


def bitsandbytes_model(directory):
    """The configuration names bfloat16 for products and decoded weights, as training wants it; here both are float32."""
    import bitsandbytes
    model = transformers_model(directory)
    packed = [module for module in model.modules() if isinstance(module, (bitsandbytes.nn.Linear4bit, bitsandbytes.nn.Linear8bitLt))]
    assert packed, "nothing is quantized"
    for module in packed:
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.compute_dtype = module.weight.quant_state.dtype = torch.float32
            module.support_avx512bf16_for_cpu = False  # else it multiplies in bfloat16 where the CPU can
    return torch.nn.Module.float(model)  # transformers loads in the type of the configuration, and has no float() of its own


def hqq_model(directory):
    """Layers read and decoded by HQQ itself: transformers 5.22 leaves the layers of a directory that HQQ's save_pretrained wrote random,
    and refuses the CPU."""
    from hqq.core.quantize import HQQLinear
    from safetensors.torch import load_file
    config = AutoConfig.from_pretrained(directory)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config).float()
    layers, plain = {}, {}
    tensors = load_file(os.path.join(directory, "model.safetensors"))
    packed = {name[:-len(".W_q")] for name in tensors if name.endswith(".W_q")}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        if module in packed:
            layers.setdefault(module, {})[part] = tensor
        else:
            plain[name] = tensor
    for name, parts in layers.items():
        layer = HQQLinear(None, None, compute_dtype=torch.float32, device="cpu", initialize=False)
        layer.load_state_dict(parts)
        plain[name + ".weight"] = layer.dequantize()
    missing, unexpected = model.load_state_dict(plain, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model


LOADERS = {"transformers": transformers_model, "GPTQModel": gptqmodel_model, "GPTQModel AWQ": gptqmodel_awq,
           "bitsandbytes": bitsandbytes_model, "HQQ": hqq_model}
# "mixed": three schemes in one directory (see plan()); "+g_idx": columns in the order of their importance, stored.
CASES = [("compressed-tensors", scheme, "transformers") for scheme in
         ("w4g128", "w4g32", "w4", "w4g128a", "w4g32a", "w4a", "w8g128", "w8", "w8g32a", "w8tensor", "w3g128", "w3g32a", "w2g32", "w2g32a",
          "mixed")]
CASES += [("gptq", scheme, "GPTQModel") for scheme in ("w4g128", "w4g32", "w4", "w4g32+g_idx", "w8g128", "w8", "w3g32", "w2g32", "mixed")]
CASES += [("gptq_v2", scheme, "GPTQModel") for scheme in ("w4g128", "w4g128a", "w4g32a", "w4a", "w4g32a+g_idx", "w8g32a", "w3g32a", "w2g32a")]
CASES += [("gptq_p", scheme, "GPTQModel") for scheme in ("w4g128", "w3g32a")]
CASES += [("compressed-tensors", scheme, "transformers") for scheme in ("w8a8", "w8a8s", "fp8", "fp8-a8")]
CASES += [("awq", scheme, "GPTQModel AWQ") for scheme in ("w4g128", "w4g128a", "w4g32a")]
CASES += [("bitsandbytes", scheme, "bitsandbytes") for scheme in ("nf4", "nf4-dq", "fp4", "llm-int8")]
CASES += [("hqq", scheme, "HQQ") for scheme in ("w4g64f", "w8g64f", "w3g64f", "w2g32f")]


def plan(model, scheme):
    """A plan for all modules; "mixed": one module with more bits, one that is kept, 4 bit for the rest. Codes that GPTQ does not make
    are rounded, float zero points are HQQ's."""
    scheme, _, order = scheme.partition("+")
    options = qz.GptqOptions(order=order or None)
    if scheme.endswith("f"):
        return qz.Plan(model).add("*", "hqq", scheme)
    if scheme == "llm-int8" or scheme.startswith("fp8"):
        return qz.Plan(model).add("*", "rtn", scheme)
    made = qz.Plan(model).add("*", "gptq", "w4g128" if scheme == "mixed" else scheme, options)
    if scheme == "mixed":
        last = max(module.layer for module in model.modules)
        for module in model.modules:
            if module.role == "down" and module.layer == 0:
                made.add(module.name, "gptq", "w8g32", options)
            if module.role == "o" and module.layer == last:
                made.add(module.name, "keep")
    return made


@torch.no_grad()
def compare(loaded, session, text):
    """Perplexity of the loader's model over the windows, as qz.perplexity() defines it; largest difference of a logit."""
    losses, largest = [], 0.0
    for ids in text:
        tokens = torch.from_numpy(ids.astype(np.int64))
        logits = loaded(input_ids=tokens[None], use_cache=False).logits[0].float()
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="none").double())
        session.reset()
        largest = max(largest, float(np.abs(session.logits(ids) - logits.numpy()).max()))
    return float(torch.cat(losses).mean().exp()), largest


def run_case(model, calibration, text, form, scheme, loader, directory):
    """The columns of the table, and whether they are good."""
    quantized = plan(model, scheme).run(calibration, format=form, stream_to=directory)
    ours = qz.perplexity(quantized, text, window=WINDOW).perplexity
    with contextlib.redirect_stdout(sys.stderr):  # loaders talk
        theirs, largest = compare(LOADERS[loader](directory).eval(), qz.Session(quantized), text)
    ratio = theirs / ours
    limit = ROUNDED_LOGIT if scheme in ROUNDED else LOGIT
    return f"{ours:11.4f}{theirs:12.4f}{ratio:11.6f}{largest:12.2e}", abs(ratio - 1) <= RATIO and largest <= limit


def main(directories, only):
    """only: formats; none means all."""
    cases = [case for case in CASES if not only or case[0] in only]
    bad = 0
    for directory in directories:
        model = qz.Model.open(directory)
        calibration = qz.Calibration.generated(model, SAMPLES, WINDOW, seed=1)
        text = qz.Calibration.generated(model, WINDOWS, WINDOW, seed=2)
        print(f"\n{directory}: perplexity {qz.perplexity(model, text, window=WINDOW).perplexity:.4f}\n"
              f"{'format':19}{'scheme':14}{'loader':14}{'ppl qz':>11}{'ppl loader':>12}{'ratio':>11}{'max |diff|':>12}", flush=True)
        for form, scheme, loader in cases:
            with tempfile.TemporaryDirectory() as parent:
                try:
                    columns, good = run_case(model, calibration, text, form, scheme, loader, os.path.join(parent, "model"))
                except Exception as problem:  # whatever a loader raises is the finding
                    traceback.print_exc()
                    columns, good = f"  {type(problem).__name__}: {str(problem).splitlines()[:1]}", False
            bad += not good
            print(f"{form:19}{scheme:14}{loader:14}{columns}{'' if good else '  FAIL'}", flush=True)
    print(f"\n{bad} of {len(cases) * len(directories)} failed")
    return bad


if __name__ == "__main__":
    formats = {case[0] for case in CASES}
    directories = [word for word in sys.argv[1:] if word not in formats] or [str(ROOT / "examples/llama-1m")]
    sys.exit(1 if main(directories, formats.intersection(sys.argv[1:])) else 0)
