#!/usr/bin/env python3
"""How good every kind of quantization is: KL to the original, perplexity, top-1, and CPU seconds, as one Markdown table.

    bench/kinds.py MODEL --text TOKENS.npy --eval NAME=TOKENS.npy [--eval ...] [--rows nf4 ...] [--threads N]

TOKENS.npy holds int32 token ids: for --text [sequences, length], for --eval any shape, of which the first --limit tokens are evaluated in
windows of --window. All linear layers but a tied head are quantized. Rows with GPTQ, AWQ, SmoothQuant or an importance matrix (imatrix) see
--text, the others no data. CPU seconds are user + system time of the quantization alone. --rows: all whose name contains one of the words.
"""
import argparse
import os
import tempfile

import numpy as np

import qz
from qz.mixes import MIXES, mix_rules
from scores import Scores, add_options, cpu_seconds, row

# name, scheme or mix, method, transform, imatrix
KINDS = [
    ("w4g128 RTN", "w4g128", "rtn", None, False),
    ("w4g128 MSE", "w4g128", "mse", None, False),
    ("w3g128 RTN", "w3g128", "rtn", None, False),
    ("w3g128 MSE", "w3g128", "mse", None, False),
    ("w4g128 GPTQ", "w4g128", "gptq", None, False),
    ("AWQ, w4g128", "w4g128", "rtn", "awq", False),
    ("AWQ + GPTQ, w4g128", "w4g128", "gptq", "awq", False),
    ("HQQ, w4g64", "w4g64f", "hqq", None, False),
    ("HQQ, w4g128", "w4g128f", "hqq", None, False),
    ("HQQ, w3g64", "w3g64f", "hqq", None, False),
    ("HQQ, w2g64", "w2g64f", "hqq", None, False),
    ("NF4", "nf4", "rtn", None, False),
    ("NF4, double quantization", "nf4-dq", "rtn", None, False),
    ("NF4 GPTQ", "nf4", "gptq", None, False),
    ("FP4", "fp4", "rtn", None, False),
    ("FP4 GPTQ", "fp4", "gptq", None, False),
    ("INT8 by rows", "w8", "rtn", None, False),
    ("LLM.int8()", "llm-int8", "rtn", None, False),
    ("FP8", "fp8", "rtn", None, False),
    ("W8A8 RTN", "w8a8", "rtn", None, False),
    ("W8A8 SmoothQuant", "w8a8", "rtn", "smoothquant", False),
    ("W8A8 SmoothQuant + GPTQ", "w8a8", "gptq", "smoothquant", False),
]
KINDS += [(f"{mix} {words}", mix, method, None, imatrix) for mix in ("q2_k", "q3_k_s", "q3_k_m", "iq4_xs", "q4_0", "q4_k_m", "q5_k_m", "q8_0")
          for words, method, imatrix in (("RTN", "rtn", False), ("RTN, imatrix", "rtn", True), ("GPTQ", "gptq", False)) if mix != "q8_0" or words == "RTN"]


def format_of(what):
    if what in MIXES:
        return "gguf"
    if what.startswith(("nf4", "fp4", "llm-int8")):
        return "bitsandbytes"
    return "hqq" if what.endswith("f") else "compressed-tensors"


def make_plan(model, what, method, transform, imatrix):
    plan = qz.Plan(model)
    if what in MIXES:
        plan.add("*", method, MIXES[what][0])
        for name, code in mix_rules(model, what):
            plan.add(name, method, code)
    else:
        plan.add("*", method, what, transform=transform)
    if imatrix:
        plan.set_imatrix(imatrix)
    return plan


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rows", nargs="+", default=[""])
    args = parser.parse_args()
    scores = Scores(args)
    model = scores.model
    calibration = qz.Calibration.from_tokens(np.load(args.text).astype(np.int32), context=scores.context)
    weights = {m.name: m.rows * m.cols for m in model.modules}
    print(f"{scores.subject}: {scores.machine}\n")
    scores.head("what", "bits", "CPU s")
    with tempfile.TemporaryDirectory() as scratch:
        importance = os.path.join(scratch, "imatrix")
        for name, what, method, transform, imatrix in KINDS:
            if not any(word in name for word in args.rows):
                continue
            try:
                if imatrix and not os.path.exists(importance):
                    calibration.write_imatrix(model, importance)
                plan = make_plan(model, what, method, transform, importance if imatrix else None)
                start = cpu_seconds()
                small = plan.run(calibration, format=format_of(what))
            except qz.Error as e:
                row(name, "", "", str(e))
                continue
            seconds = cpu_seconds() - start
            bits = 8 * sum(r.bytes_after for r in small.report) / sum(weights[r.name] for r in small.report)
            row(name, f"{bits:.3f}", f"{seconds:.1f}", *scores.of(small))


if __name__ == "__main__":
    main()
