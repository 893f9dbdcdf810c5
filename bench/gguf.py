#!/usr/bin/env python3
"""How good GGUF files are: KL to the original, perplexity, top-1, and CPU seconds of each mix, as one Markdown table.

    bench/gguf.py MODEL --text TOKENS.npy --eval TOKENS.npy [--mixes q4_0 q4_k_m ...] [--out DIRECTORY]

TOKENS.npy holds int32 token ids: for --text [sequences, length], for --eval any shape, of which the first --limit tokens are evaluated in
windows of --window. --out keeps the files, for llama.cpp. CPU seconds are user + system time of the quantization alone.
"""
import argparse
import os
import tempfile

import numpy as np

import qz
from qz.mixes import MIXES, mix_rules
from scores import cpu_seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--eval", required=True)
    parser.add_argument("--mixes", nargs="+", default=["q4_0", "q4_k_m", "q3_k_m", "iq4_xs"], choices=list(MIXES))
    parser.add_argument("--limit", type=int, default=16384)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out")
    a = parser.parse_args()
    model = qz.Model.open(a.model, context=qz.Context(threads=a.threads))
    calibration = qz.Calibration.from_tokens(np.load(a.text))
    text = qz.Calibration.from_tokens([np.load(a.eval).reshape(-1)[:a.limit]])
    original = qz.perplexity(model, text, window=a.window).perplexity
    weights = sum(m.rows * m.cols for m in model.modules if m.layer >= 0)
    print(f"perplexity of the original: {original:.3f}\n\n| mix | bits per weight | KL | p99 KL | top-1 | perplexity | CPU s |\n"
          "| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for mix in a.mixes:
            plan = qz.Plan(model).add("*", "gptq", MIXES[mix][0])
            for name, code in mix_rules(model, mix):
                plan.add(name, "gptq", code)
            start = cpu_seconds()
            made = plan.run(calibration, format="gguf", stream_to=os.path.join(a.out or scratch, mix), overwrite=True)
            seconds = cpu_seconds() - start
            found = qz.perplexity(made, text, reference=model, window=a.window)
            bits = 8 * sum(r.bytes_after for r in made.report) / weights
            print(f"| {mix} | {bits:.3f} | {found.kl_to_reference:.5f} | {found.kl_p99:.4f} | {100 * found.top1_agreement:.2f} % "
                  f"| {found.perplexity:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
