"""What is measured: each function prints a table and returns its rows for the results' file."""
import gc
import math

import numpy as np

from race import fastest, race
import ggml_sides
import ours
import torch_sides
import torch

import qz

COLD = 512 << 20
NOTED = set()
keep = lambda row: None  # what is done with a row as soon as it is there


def note(words):
    for line in words:
        if line not in NOTED:
            print(f"note: {line}", flush=True)
        NOTED.add(line)


def copies_of(bytes_of_one):
    return max(2, math.ceil(COLD / bytes_of_one))


def error_of(side, x, w):
    """Root mean square of the result's error over the result, on some outputs, against float64."""
    exact = x[:, :].astype(np.float64) @ w[:64].astype(np.float64).T
    found = side.result()[:, :64].astype(np.float64)
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact ** 2)))


def made(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def row(shape, m, weight_bytes, flops, peak, read, mine, side_error, peers):
    """One row of a table, printed as it is found."""
    floor = max(weight_bytes / read, flops / peak[2])
    bound = "memory" if weight_bytes / read > flops / peak[2] else peak[0]
    found = {"shape": shape, "m": m, "us": mine * 1e6, "floor_us": floor * 1e6, "bound": bound, "floor_share": floor / mine, "read": read,
             "gflops": flops / mine / 1e9, "error": side_error,
             "peers": {side.name: {"us": seconds * 1e6, "ratio": ratio, "error": side.error} for side, (seconds, ratio) in peers.items()}}
    print(f"{shape:>11} {m:5d} {mine * 1e6:10.0f} µs {flops / mine / 1e9:8.0f} GFLOP/s {100 * floor / mine:4.0f} % of {bound:12}"
          + "".join(f" | {side.name} {seconds * 1e6:.0f} µs, ratio {ratio:.2f}" for side, (seconds, ratio) in peers.items()), flush=True)
    keep(found)
    return found


def prepared(sides, x, w, most):
    """The sides with x in place, their results checked: what is further off than `most` is no product."""
    for side in sides:
        side.prepare(x)
        side.error = error_of(side, x, w)
        if not side.error < most:
            raise RuntimeError(f"{side.name}: the result is off by {side.error:.3f} of its size")
    return sides


def gemm_shape(args, floors, buffers, shape):
    cols, rows = map(int, shape.split("x"))
    rng = np.random.default_rng(0)
    w = made(rng, rows, cols)
    weight_bytes = rows * cols * (0.5 + 2 / 128)
    mine = ours.Product("qz_gemm_w4a16", "w4g128", w, copies_of(weight_bytes), qz.Context(threads=args.threads))
    peers = {}
    if "ggml" not in args.without:
        count = copies_of(rows * cols * 4.5 / 8)
        for kind in ("q4_0", "q4_K"):
            peers[f"ggml {kind}"] = [ggml_sides.Ggml(b, kind, w, count, args.threads) for b in buffers]
    if "torch" not in args.without:
        peers["torch int4"] = [torch_sides.Int4(w, copies_of(weight_bytes))]
        bf16 = copies_of(rows * cols * 2)
        peers["oneDNN bf16"] = [torch_sides.Bf16(w, bf16), torch_sides.Bf16Packed(w, bf16, 512)]
    found = []
    for m in args.m:
        x = made(rng, m, cols)
        prepared([mine], x, w, 0.2)
        chosen = [fastest(prepared(sides, x, w, 0.2)) for sides in peers.values()]
        read = floors.again()
        best, ratios = race(mine, chosen, args.seconds)
        found.append(row(shape, m, weight_bytes, 2.0 * m * rows * cols, floors.best("f32", "bf16"), read, best, mine.error, ratios))
    return found


def gemm(args, floors):
    print("\nlibqz's W4A16 (group 128, x and y bfloat16) beside the peers: ggml and its int8 inputs, torch's int4, oneDNN's dense bfloat16")
    buffers, words = ([], []) if "ggml" in args.without else ggml_sides.usable_buffers(args.threads)
    note(words)
    torch.set_num_threads(args.threads)
    found = []
    for shape in args.shapes:
        found += gemm_shape(args, floors, buffers, shape)
        gc.collect()
    return found


def int8(args, floors):
    print("\nlibqz's W8A8 (x bfloat16, rounded to int8 in the call) beside oneDNN's int8 product (x rounded before)")
    torch.set_num_threads(args.threads)
    found = []
    for shape in args.shapes:
        cols, rows = map(int, shape.split("x"))
        rng = np.random.default_rng(0)
        w = made(rng, rows, cols)
        count = copies_of(rows * cols)
        mine = ours.Product("qz_gemm_w8a8", "w8a8", w, count, qz.Context(threads=args.threads))
        ways = [torch_sides.Int8Mm(w, count), torch_sides.Int8Linear(w, count, 512)]
        for m in [m for m in args.m if m >= 16]:
            x = made(rng, m, cols)
            prepared([mine, *ways], x, w, 0.1)
            chosen = fastest(ways)
            read = floors.again()
            best, ratios = race(mine, [chosen], args.seconds)
            found.append(row(shape, m, rows * cols, 2.0 * m * rows * cols, floors.best("int8"), read, best, mine.error, ratios))
        del mine, ways, chosen, ratios
        gc.collect()
    return found


class NumpyInner:
    """OpenBLAS's ssyrk, which NumPy calls for x^T x."""

    name, error = "OpenBLAS ssyrk", float("nan")

    def __init__(self, x):
        self._x = x
        self._h = np.zeros((x.shape[1], x.shape[1]), np.float32)

    def result(self):
        self.run(1)
        return self._h

    def run(self, times):
        for _ in range(times):
            np.matmul(self._x.T, self._x, out=self._h)
        return times

    def wake(self):
        pass

    sleep = wake


def xtx(args, floors):
    tokens, cols = 8192, 4096
    print(f"\nX^T X of {tokens} tokens by {cols}: GFLOP/s count one triangle for all, ratios are of times")
    torch.set_num_threads(args.threads)
    x = made(np.random.default_rng(0), tokens, cols)
    mine = ours.Inner(x, args.threads)
    peers = [NumpyInner(x), torch_sides.Inner(x, torch.float32), torch_sides.Inner(x, torch.bfloat16)]
    exact = x.astype(np.float64).T @ x[:, :64].astype(np.float64)
    for side in [mine, *peers]:
        side.error = float(np.linalg.norm(side.result()[:, :64] - exact) / np.linalg.norm(exact))
        if not side.error < 0.05:
            raise RuntimeError(f"{side.name}: the result is off by {side.error:.3f} of its size")
    read = floors.again()
    best, ratios = race(mine, peers, args.seconds)
    flops = float(tokens) * cols * (cols + 1)
    return [row(f"{tokens}x{cols}", cols, tokens * cols * 4, flops, floors.best("f32", "bf16"), read, best, mine.error, ratios)]


def model(args, floors):
    import speed

    return speed.measure(args, floors, note)
