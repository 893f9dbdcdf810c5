#!/usr/bin/env python3
"""libqz beside its peers, turn by turn in one process, as a table; the numbers go to a file of this machine for docs/performance.md.

    ./dev bench peers [gemm] [int8] [xtx] [model] [--shapes 4096x4096 ...] [--m 1 2 4 ...] [--threads 2] [--name MACHINE]

gemm: 4-bit weights at group 128; int8: W8A8; xtx: X^T X; model: tokens per second of a model of 1.1 billion parameters. A ratio is the peer's
time over libqz's, the median of pairs measured one after the other: above 1 libqz is ahead. Weights are cold: copies take turns, 512 MB of
them. Read: what memory gives; peak: the fastest instruction for bfloat16 or int8 factors; both measured in the same process.
"""
import argparse
import ctypes
import datetime
import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bindings/python"))
COLD = 512 << 20
GROUPS = ["gemm", "int8", "xtx", "model"]


def options():
    parser = argparse.ArgumentParser(prog="./dev bench peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--shapes", nargs="+", default=["4096x4096", "4096x11008", "11008x4096"], help="inputs x outputs of the weight")
    parser.add_argument("--m", nargs="+", type=int, default=[1, 2, 4, 16, 64, 512, 2048], help="rows of x")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2, help="a row, at least; more where five pairs take more")
    parser.add_argument("--without", nargs="+", default=[], help="peers to leave out: ggml torch")
    parser.add_argument("--name", help="of the results' file in docs/performance; default: from the CPU's instruction sets")
    parser.add_argument("--state", help="what is measured, where that is not this tree's commit: another libqz.so in PYTHONPATH")
    parser.add_argument("--model", type=pathlib.Path, help="default: tools/make_random_model.py tinyllama-1.1b, in build/peers")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(unknown)}: {', '.join(GROUPS)}")
    args.groups = args.groups or GROUPS
    return args


def keep_memory():
    """Large buffers that a library frees stay with the process: none of the sides pays for pages that it has had before."""
    libc, mmap_max, trim = ctypes.CDLL("libc.so.6"), -4, -1
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim, 2**31 - 1)


def main():
    args = options()
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    keep_memory()
    import floors
    import groups
    import results

    measured = floors.Floors(args.threads)
    cpu, sets = floors.cpu()
    print(f"{cpu}, {args.threads} threads, {' '.join(sets)}\nlibqz: {floors.native.bench_engine().decode()}\nmemory read {measured.read / 1e9:.1f} "
          "GB/s; " + ", ".join(f"{name} {flops / 1e9:,.0f}" for name, _, flops in measured.peaks) + " GFLOP/s", flush=True)
    file = results.File(args.name or results.machine_name(cpu, sets), {
        "cpu": cpu, "instruction_sets": sets, "threads": args.threads, "date": datetime.date.today().isoformat(), "state": args.state or results.state(),
        "libqz": floors.native.bench_engine().decode(), "read": measured.read, "peaks": measured.peaks})
    for group in args.groups:
        # Row by row: what was measured is kept if the rest is interrupted.
        groups.keep = lambda row, group=group: file.add(group, "./dev bench peers " + " ".join(sys.argv[1:] or [group]), [row])
        for row in getattr(groups, group)(args, measured):
            groups.keep(row)
    print(f"\nkept in {file.path.relative_to(ROOT)}; ./dev bench docs writes docs/performance.md")


if __name__ == "__main__":
    main()
