#!/usr/bin/env python3
"""KL over bits per weight: a budget against the uniform scheme of the same size, as a Markdown table and as a plot.

    bench/budget.py MODEL --text TOKENS.npy --eval TOKENS.npy [--uniform w3g128 w4g128 ...] [--bits 3.5 ...] [--svg FILE]

Every row is a GPTQ run at its defaults, calibrated on --text; KL to the original in nats per token on the first --limit tokens of --eval, windows
of --window.
"""
import argparse

import numpy as np

import qz


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--eval", required=True)
    parser.add_argument("--uniform", nargs="+", default=["w2g32", "w3g128", "w3g32", "w4g128", "w4g32", "w8g128"])
    parser.add_argument("--bits", type=float, nargs="*", default=[])
    parser.add_argument("--limit", type=int, default=16384)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--svg")
    args = parser.parse_args()
    context = qz.Context(threads=args.threads)
    model = qz.Model.open(args.model, context=context)
    calibration = qz.Calibration.from_tokens(np.load(args.text).astype(np.int32), context=context)
    text = qz.Calibration.from_tokens([np.load(args.eval).ravel()[: args.limit].astype(np.int32)], context=context)
    weights = {m.name: m.rows * m.cols for m in model.modules}

    def measure(plan):
        small = plan.run(calibration)
        bits = 8 * sum(r.bytes_after for r in small.report) / sum(weights[r.name] for r in small.report)
        return bits, 1e3 * qz.perplexity(small, text, model, window=args.window).kl_to_reference

    print("| bits per weight | uniform | KL e-3 | budget: bits | KL e-3 | ratio |\n|---|---|---|---|---|---|", flush=True)
    mixed_plan = qz.Plan(model).add("*", "gptq")
    uniform, mixed = [], []
    for scheme in args.uniform:
        uniform.append(measure(qz.Plan(model).add("*", "gptq", scheme)))
        mixed.append(measure(mixed_plan.set_budget(calibration, uniform[-1][0])))
        print(f"| {uniform[-1][0]:.3f} | {scheme} | {uniform[-1][1]:.3f} | {mixed[-1][0]:.3f} | {mixed[-1][1]:.3f} | "
              f"{mixed[-1][1] / uniform[-1][1]:.2f} |", flush=True)
    for bits in args.bits:
        mixed.append(measure(mixed_plan.set_budget(calibration, bits)))
        print(f"| {bits:.3f} | - | - | {mixed[-1][0]:.3f} | {mixed[-1][1]:.3f} | - |", flush=True)
    if args.svg:
        plot(args.svg, uniform, sorted(mixed))


def plot(file, uniform, mixed):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.semilogy(*zip(*mixed), "o-", label="budget")
    axes.semilogy(*zip(*uniform), "x", label="one scheme for all")
    axes.set_xlabel("bits per weight")
    axes.set_ylabel("KL to the original, 1e-3 nats per token")
    axes.legend()
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    main()
