"""What the accuracy benchmarks share: token files to evaluate on, and a row's scores on each of them as cells of a Markdown table."""
import os
import platform

import numpy as np

import qz


def add_options(parser):
    parser.add_argument("model")
    parser.add_argument("--text", required=True, metavar="TOKENS.npy", help="calibration: int32 token ids [sequences, length]")
    parser.add_argument("--eval", action="append", required=True, metavar="NAME=TOKENS.npy")
    parser.add_argument("--limit", type=int, default=16384, help="tokens evaluated of each file")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0)


def cpu_seconds():
    """User and system time of the process so far."""
    t = os.times()
    return t.user + t.system


class Scores:
    def __init__(self, args):
        self.context = qz.Context(threads=args.threads)
        self.model = qz.Model.open(args.model, context=self.context)
        self.window, self.evals = args.window, {}
        for item in args.eval:
            name, path = item.split("=", 1)
            self.evals[name] = qz.Calibration.from_tokens([np.load(path).ravel()[: args.limit].astype(np.int32)], context=self.context)
        device = self.context.devices[0]
        self.subject = os.path.basename(os.path.normpath(args.model))
        self.machine = f"{device.name or platform.machine()}, {device.arch}, {device.units} threads"

    def head(self, *columns):
        row(*columns, *(f"{name}: KL e-3 (p99), ppl, top-1" for name in self.evals))
        print("|" + "---|" * (len(columns) + len(self.evals)), flush=True)

    def of(self, quantized):
        """One cell for each token file: mean KL to the original (99th percentile), times 1,000, perplexity, top-1 agreement."""
        for tokens in self.evals.values():
            e = qz.perplexity(quantized, tokens, self.model, window=self.window)
            yield f"{1e3 * e.kl_to_reference:.3f} ({1e3 * e.kl_p99:.1f}), {e.perplexity:.2f}, {100 * e.top1_agreement:.2f} %"


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)
