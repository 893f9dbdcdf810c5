"""The solver of lib/method once more, in float64 NumPy, one cell at a time: what gptq_reference_test.cc is compared with.

Notation as there: T target [rows][cols], H damped [cols][cols], G output metric, R rows that share it ("chain"), all columns in group
order. Inputs come from a generator that the C++ test has too, so that only results are stored:
    python3 tests/numeric/gptq_reference.py tests/data/numeric/gptq.safetensors
"""
import json
import struct
import sys

import numpy as np

f32 = np.float32
TOKENS, HELD = 400, 48  # HELD: of which so many judge, where there is a target
# name: rows, cols, bits, group (-1 row, -2 tensor), symmetric, min_zero, scale type, order, search, signed, sweeps, refit, chain, target
CASES = {
    "greedy":  (24, 160, 4, 32, True, 0, "F32", "none", False, False, 0, False, 0, None),
    "search":  (24, 160, 4, 64, True, 0, "BF16", "none", True, True, 0, False, 0, None),
    "static":  (24, 160, 3, 32, True, 0, "F16", "static", True, True, 4, True, 0, None),
    "gidx":    (24, 160, 4, 32, True, 0, "F16", "gidx", True, True, 2, True, 0, None),
    "asym":    (24, 160, 2, 16, False, 1, "F16", "static", True, False, 3, True, 0, None),
    "row":     (17, 152, 8, -1, True, 0, "BF16", "static", True, True, 2, True, 0, None),
    "tensor":  (17, 152, 4, -2, True, 0, "F32", "static", True, True, 2, True, 0, None),
    "ragged":  (9, 300, 4, 128, False, 0, "BF16", "static", True, True, 2, True, 0, None),
    "metric":  (40, 160, 3, 32, True, 0, "BF16", "static", True, True, 4, True, 16, None),
    "chosen":  (24, 160, 4, 32, True, 0, "F32", "static", True, True, 2, True, 0, (-2, -2)),
    "fixed":   (24, 160, 4, 32, True, 0, "F32", "gidx", True, True, 2, True, 0, (0.5, 0.25)),
}
DAMP, RIDGE = 0.05, 0.03


def draws(seed, *shape):
    """xorshift32: multiples of 2^-15 in [-1, 1)."""
    x, out = 2463534242 + seed, np.empty(int(np.prod(shape)))
    for i in range(out.size):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        out[i] = (x >> 16) / 32768 - 1
    return out.reshape(shape)


def activations(seed, tokens, cols):
    z, j = draws(seed, tokens, cols), np.arange(cols)
    return ((0.5 + j % 7 / 4) * (z + 0.75 * z[:, (j + 1) % cols] + 0.5 * z[:, j // 4])).astype(f32)


def inputs(rows, cols):
    u = draws(1, rows, cols)
    return (u * abs(u) / 8).astype(f32), activations(2, TOKENS, cols), activations(3, TOKENS, rows)


def storable(s, dtype):
    s = np.asarray(s, f32)
    u = s.view(np.uint32).astype(np.uint64)
    r = {"F32": s, "F16": s.astype(np.float16).astype(f32),
         "BF16": ((u + 0x7FFF + (u >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(f32)}[dtype]
    return np.where(r == 0, np.copysign(f32(6.103515625e-05 if dtype == "F16" else 1.1754944e-38), s), r).astype(f32)


def codes_of(x, s, z, top):
    return np.clip(np.rint(x / s[..., None].astype(float) + z[..., None]), 0, top)


def choose(w, h, bits, sym, min_zero, dtype, search, signed):
    """Scale and zero point per line of w [lines][n]; h [lines][n]."""
    low, high, top, mid = np.minimum(w.min(-1), 0), np.maximum(w.max(-1), 0), 2**bits - 1, 2 ** (bits - 1)
    big = np.maximum(-low, high)
    full = (np.where(high > -low, -big, big) / f32(mid) if signed else 2 * big / f32(top)) if sym else (high - low) / f32(top)

    def candidate(f, sign=1):
        s = f32(sign) * storable(full * f32(f), dtype)
        return s, np.full(len(w), mid, float) if sym else np.clip(np.rint(-low * f32(f) / s), min_zero, top).astype(float)

    def cost(s, z):
        return (h * (w - s[:, None].astype(float) * (codes_of(w, s, z, top) - z[:, None])) ** 2).sum(-1)

    s, z = candidate(1)
    if not search:
        return s, z
    # An error counts by its column and by its weight: sqrt(k mean w^2 + w^2), k = 2^(bits - 2) - 0.99.
    h = h * np.sqrt((2 ** (bits - 2) - 0.99) * (w.astype(float) ** 2).mean(-1, keepdims=True) + w.astype(float) ** 2)
    best, least, steps = cost(s, z), f32({8: 0.9, 4: 0.55, 3: 0.45, 2: 0.3}[bits]), 10 if bits == 8 else 30
    shrinks = [f32(1) - (f32(1) - least) * f32(i) / f32(steps) for i in range(steps + 1)]
    for sign in (1, -1) if sym and signed else (1,):
        for f in shrinks:
            cs, cz = candidate(f, sign)
            e = cost(cs, cz)
            s, z, best = np.where(e < best, cs, s), np.where(e < best, cz, z), np.minimum(e, best)
    going = np.ones(len(w), bool)
    for _ in range(3):
        q = codes_of(w, s, z, top) - z[:, None]
        den = (h * q * q).sum(-1)
        fit = storable((h * w * q).sum(-1) / np.where(den > 0, den, 1), dtype)
        ratio = fit / full
        going &= (den > 0) & (abs(ratio) >= least) & (abs(ratio) <= f32(1.1)) & ((fit > 0) == (s > 0))
        e = cost(np.where(going, fit, s), z)
        going &= e < best
        s, best = np.where(going, fit, s), np.where(going, e, best)
    return s, z


def chains(g, block):
    """(rows in solving order, G of them with its ridge) per chain."""
    ridge = RIDGE * np.mean(np.diag(g))
    for first in range(0, len(g), block):
        rows = np.arange(first, min(first + block, len(g)))
        rows = rows[np.argsort(np.diag(g)[rows], kind="stable")]
        yield rows, g[np.ix_(rows, rows)] + ridge * np.eye(len(rows))


def make_target(w, x, hd, strengths):
    n, m = TOKENS - HELD, len(w)
    dx, dr = activations(5, TOKENS, w.shape[1]) / 8 + x / 16, activations(6, TOKENS, m) / 4 + x[:, :m] / 4
    inv = np.linalg.inv(hd)
    p, q = w @ (dx[:n].T @ x[:n] / n) @ inv, dr[:n].T @ x[:n] / n @ inv
    if strengths[0] == -2:  # the box-constrained least-squares fit of what the held-out outputs lack, by turns
        y, a, b = dx[n:] @ w.T + dr[n:], x[n:] @ p.T, x[n:] @ q.T
        strengths = np.zeros(2)
        for _ in range(2000):
            strengths[0] = np.clip(((y - strengths[1] * b) * a).sum() / (a * a).sum(), 0, 1)
            strengths[1] = np.clip(((y - strengths[0] * a) * b).sum() / (b * b).sum(), 0, 1)
    return w + strengths[0] * p + strengths[1] * q, strengths


def solve(rows, cols, bits, group, sym, min_zero, dtype, order, search, signed, sweeps, refit, chain, strengths):
    w, x, gx = (a.astype(float) for a in inputs(rows, cols))
    n = TOKENS - HELD if strengths else TOKENS
    h = x[:n].T @ x[:n] / n
    hd, top, size = h + DAMP * np.mean(np.diag(h)) * np.eye(cols), 2**bits - 1, group if group > 0 else cols
    falling = np.argsort(-np.diag(h), kind="stable") if order != "none" else np.arange(cols)
    natural = falling if order == "gidx" else np.arange(cols)          # natural column of each place in group order
    solving = np.arange(cols) if order == "gidx" else falling          # places in the order in which they are solved
    t, strengths = make_target(w, x, hd, strengths) if strengths else (w, (0, 0))
    target, t, d, hd = t, t[:, natural], np.diag(h)[natural], hd[np.ix_(natural, natural)]
    if group == -2:
        s, z = choose(t.reshape(1, -1).astype(f32), np.tile(d, rows)[None], bits, sym, min_zero, dtype, search, signed)
        s, z = np.repeat(s, rows)[:, None], np.repeat(z, rows)[:, None]
    else:
        s, z = (np.stack(a, 1) for a in zip(*(choose(t[:, c:c + size].astype(f32), d[c:c + size][None], bits, sym, min_zero, dtype,
                                                     search, signed) for c in range(0, cols, size))))
    gid, groups = np.arange(cols) // size, [(list(r), m) for r, m in chains(gx.T @ gx / TOKENS, chain)] if chain else \
        [([r], np.eye(1)) for r in range(rows)]
    code = np.zeros((rows, cols))
    value = lambda r: s[r, gid] * (code[r] - z[r, gid])
    flip = solving[::-1]                                               # the factor is lower triangular, solved last index first
    lower = np.linalg.cholesky(hd[np.ix_(flip, flip)])
    for rs, g in groups:
        m, f = np.linalg.cholesky(g), np.zeros((len(rs), cols))        # f = (T - Q) L
        for i in reversed(range(len(rs))):
            for j in reversed(range(cols)):
                r, c, k = rs[i], flip[j], gid[flip[j]]
                aim = t[r, c] + (f[i, j] + m[i + 1:, i] @ f[i + 1:, j] / m[i, i]) / lower[j, j]
                code[r, c] = np.clip(np.rint(aim / s[r, k] + z[r, k]), 0, top)
                f[i, :j + 1] += (t[r, c] - s[r, k] * (code[r, c] - z[r, k])) * lower[j, :j + 1]
    for _ in range(sweeps):
        start = 0
        while start < cols:
            stop = min(cols, start + (size if size >= 128 else 128 // size * size))
            for k in range(start // size, -(-stop // size)) if refit else ():
                c = np.arange(k * size, min(cols, k * size + size))
                fits = [sum(([rs] for rs, _ in groups), [])] if group == -2 else [[[r]] for rs, _ in groups for r in rs]
                for lines in fits:
                    lines, num, den = [r for line in lines for r in line], 0.0, 0.0
                    for r in lines:
                        rs, g = next((rs, g) for rs, g in groups if r in rs)
                        e = (g[rs.index(r)] / g[rs.index(r), rs.index(r)]) @ np.array([t[q] - value(q) for q in rs])
                        v = code[r, c] - z[r, k]
                        num, den = num + v @ (e @ hd)[c], den + v @ hd[np.ix_(c, c)] @ v
                    fit = storable(s[lines[0], k] + f32(num / den), dtype) if den > 0 else s[lines[0], k]
                    by = float(fit) - float(s[lines[0], k])
                    if f32(0.8) <= fit / s[lines[0], k] <= f32(1.25) and by * by * den < 2 * by * num:
                        s[lines, k] = fit
            for c0 in range(start, stop, 128):
                for rs, g in groups:
                    for i, r in enumerate(rs):
                        e = (g[i] / g[i, i]) @ np.array([t[q] - value(q) for q in rs]) @ hd
                        for c in range(c0, min(c0 + 128, stop)):
                            k, old = gid[c], code[r, c]
                            code[r, c] = np.clip(np.rint(old + e[c] / hd[c, c] / s[r, k]), 0, top)
                            if code[r, c] != old:
                                e -= float(s[r, k]) * (code[r, c] - old) * hd[c]
            start = stop
    out = np.empty((rows, cols), np.uint8)
    out[:, natural] = code
    return {"codes": out, "scales": s.astype(f32), "zeros": z.astype(np.uint8), "target": target.astype(f32),
            "strengths": np.array(strengths, f32)}


def write_safetensors(tensors, path):
    header, at = {}, 0
    for name, a in tensors.items():
        header[name] = {"dtype": {"uint8": "U8", "float32": "F32"}[a.dtype.name], "shape": a.shape, "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in tensors.values()))


if __name__ == "__main__":
    write_safetensors({f"{name}.{k}": v for name, case in CASES.items() for k, v in solve(*case).items()
                       if k not in ("target", "strengths") or case[-1]}, sys.argv[1])
