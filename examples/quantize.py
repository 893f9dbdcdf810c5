"""quantize.py MODEL OUT: a 16-bit model in, a 4-bit directory out, and how far the one is from the other.

No data is needed: the model writes its own text, to calibrate with and, from another seed, to be judged on.
"""
import sys

import qz


def show(p):
    print(f"\r{p.fraction:4.0%}  {p.module:60}", end="", file=sys.stderr)


def main(source, out):
    with qz.Model.open(source) as model:
        calibration = qz.Calibration.generated(model, sequences=32, length=256, seed=0)
        solved = qz.gptq(model, calibration, scheme="w4g128", stream_to=out, progress=show)  # complete or absent, whatever happens
        rounded = qz.rtn(model, scheme="w4g128")
        print(file=sys.stderr)

        text = qz.Calibration.generated(model, sequences=8, length=256, seed=1)
        for name, candidate in [("16 bit", model), ("rounded", rounded), ("GPTQ", solved)]:
            e = qz.perplexity(candidate, text, reference=model)
            print(f"{name:7} perplexity {e.perplexity:.4f}  KL {e.kl_to_reference:.5f} nats  top-1 agreement {e.top1_agreement:.1%}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} MODEL OUT")
    try:
        main(sys.argv[1], sys.argv[2])
    except qz.Error as problem:
        sys.exit(f"\n{problem}")
