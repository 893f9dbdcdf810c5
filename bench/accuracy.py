#!/usr/bin/env python3
"""What each lever of the solver is worth: KL to the original, perplexity, top-1, and CPU seconds, as one Markdown table a bit width.

    bench/accuracy.py MODEL --text TOKENS.npy --eval like=TOKENS.npy --eval far=TOKENS.npy [--bits 4 3] [--modes text self mix]
                      [--rows default ...]

TOKENS.npy holds int32 token ids: for --text [sequences, length], for --eval any shape. Calibration is --text alone, the same amount
of text that the model writes itself (seed 1), or half of each. The evaluation takes the first --limit tokens in windows of --window.
CPU seconds are user + system time of the quantization alone, one process, --threads threads; what the model's own text costs is said once.
"""
import argparse
import os
import platform

import numpy as np

import qz

PLAIN = dict(order="none", sweeps=0, search=False, signed_grid=False, refit=False, drift=0.0, residual=0.0, metric=0, damp=0.01)
# Each row adds to the one above it.
LEVERS = [
    ("GPTQ, no lever", {}),
    ("+ act-order, static groups", dict(order="static")),
    ("+ weighted range search", dict(search=True)),
    ("+ signed full-range grid", dict(signed_grid=True)),
    ("+ coordinate-descent sweeps", dict(sweeps=2)),
    ("+ scale refit", dict(refit=True)),
    ("+ drift, residual (two streams)", dict(drift=None, residual=None)),
    ("+ output metric", dict(metric=None, metric_ridge=None)),
    ("default", None),
]


def rows():
    yield "RTN", "rtn", None
    options = dict(PLAIN)
    for name, change in LEVERS:
        if change is None:
            yield name, "gptq", qz.GptqOptions()
        else:
            options.update(change)
            yield name, "gptq", qz.GptqOptions(**options)


def cpu_seconds():
    t = os.times()
    return t.user + t.system


def calibration(model, mode, text, seed):
    count, length = text.shape
    if mode == "text":
        return qz.Calibration.from_tokens(text)
    if mode == "self":
        return qz.Calibration.generated(model, count, length, seed)
    mixed = qz.Calibration.from_tokens(text[: count // 2])
    mixed.add_generated(model, count - count // 2, length, seed)
    return mixed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--eval", action="append", required=True, metavar="NAME=TOKENS.npy")
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--modes", nargs="+", default=["text", "self", "mix"], choices=["text", "self", "mix"])
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--group", type=int, default=128)
    parser.add_argument("--limit", type=int, default=16384)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    context = qz.Context(threads=args.threads)
    model = qz.Model.open(args.model, context=context)
    text = np.load(args.text).astype(np.int32)
    evals = {}
    for item in args.eval:
        name, path = item.split("=", 1)
        evals[name] = qz.Calibration.from_tokens([np.load(path).ravel()[: args.limit].astype(np.int32)], context=context)
    device = context.devices[0]
    print(f"{os.path.basename(os.path.normpath(args.model))}: calibration {text.shape[0]} x {text.shape[1]} tokens; {args.limit} tokens evaluated, "
          f"windows of {args.window}; {device.name or platform.machine()}, {device.arch}, {device.units} threads\n")
    sets = {}
    for mode in args.modes:
        start = cpu_seconds()
        sets[mode] = calibration(model, mode, text, args.seed)
        if mode != "text":
            print(f"the model's own text for {mode}: {cpu_seconds() - start:.1f} CPU s\n", flush=True)
    for bits in args.bits:
        print(f"### {bits} bit, group {args.group}, symmetric\n")
        head = ["method", "calibration", "CPU s"] + [f"{name}: KL e-3 (p99), ppl, top-1" for name in evals]
        print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
        for mode in args.modes:
            for name, method, options in rows():
                if args.rows and name not in args.rows:
                    continue
                if method == "rtn" and mode != args.modes[0]:
                    continue
                scheme = qz.Scheme(bits=bits, group=args.group)
                start = cpu_seconds()
                if method == "rtn":
                    small = qz.rtn(model, scheme=scheme)
                else:
                    small = qz.gptq(model, sets[mode], scheme=scheme, options=options)
                seconds = cpu_seconds() - start
                cells = [name, "-" if method == "rtn" else mode, f"{seconds:.1f}"]
                for tokens in evals.values():
                    e = qz.perplexity(small, tokens, model, window=args.window)
                    cells.append(f"{1e3 * e.kl_to_reference:.3f} ({1e3 * e.kl_p99:.1f}), {e.perplexity:.2f}, {100 * e.top1_agreement:.2f} %")
                print("| " + " | ".join(cells) + " |", flush=True)
        print()


if __name__ == "__main__":
    main()
