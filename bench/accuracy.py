#!/usr/bin/env python3
"""What each lever of the solver is worth: KL to the original, perplexity, top-1, and CPU seconds, as one Markdown table a bit width.

    bench/accuracy.py MODEL --text TOKENS.npy --eval like=TOKENS.npy --eval far=TOKENS.npy [--bits 4 3] [--modes text self mix]
                      [--rows default ...]

TOKENS.npy holds int32 token ids: for --text [sequences, length], for --eval any shape. Calibration is --text alone, the same amount
of text that the model writes itself (seed 1), or half of each. The evaluation takes the first --limit tokens in windows of --window.
CPU seconds are user + system time of the quantization alone, one process, --threads threads; what the model's own text costs is said once.
"""
import argparse

import numpy as np

import qz
from scores import Scores, add_options, cpu_seconds, row

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
    add_options(parser)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--modes", nargs="+", default=["text", "self", "mix"], choices=["text", "self", "mix"])
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--group", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    scores = Scores(args)
    model = scores.model
    text = np.load(args.text).astype(np.int32)
    print(f"{scores.subject}: calibration {text.shape[0]} x {text.shape[1]} tokens; {args.limit} tokens evaluated, windows of {args.window}; {scores.machine}\n")
    sets = {}
    for mode in args.modes:
        start = cpu_seconds()
        sets[mode] = calibration(model, mode, text, args.seed)
        if mode != "text":
            print(f"the model's own text for {mode}: {cpu_seconds() - start:.1f} CPU s\n", flush=True)
    for bits in args.bits:
        print(f"### {bits} bit, group {args.group}, symmetric\n")
        scores.head("method", "calibration", "CPU s")
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
                row(name, "-" if method == "rtn" else mode, f"{seconds:.1f}", *scores.of(small))
        print()


if __name__ == "__main__":
    main()
