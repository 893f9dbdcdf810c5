"""Tokens per second of a whole model at 4 bits: libqz's session beside llama.cpp, both at what they do best with the same weights.

libqz: W4 at group 128, the head W8 at group 128, with each kind of products. llama.cpp: Q4_0 as libqz writes it, the head Q6_K by
llama-quantize's own function; it rounds inputs to 8 bits, a scale for 32 of them.
"""
import ctypes
import itertools
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

import ggml_sides
import qz

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "build/peers"
PRODUCTS = ("exact", "bf16", "int8")
SHAPE = "tinyllama-1.1b"
BEFORE, DECODED, PROMPT = 128, 32, 512  # tokens in the cache before those that are timed one by one, these, a prompt


def load():
    library = ggml_sides.load()
    library.peer_llama_open.restype = ctypes.c_void_p
    library.peer_llama_run.restype = ctypes.c_double
    library.peer_llama_logits.restype = ctypes.POINTER(ctypes.c_float)
    library.peer_llama_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    library.peer_llama_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.peer_llama_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.peer_llama_logits.argtypes = library.peer_llama_close.argtypes = [ctypes.c_void_p]
    return library


def bytes_of(path):
    files = [path] if path.is_file() else path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)


def files(args):
    """The model in both forms, made where they are not there yet."""
    source = args.model or WORK / SHAPE
    if not source.is_dir():
        subprocess.run([sys.executable, str(ROOT / "tools/make_random_model.py"), SHAPE, str(source)], check=True)
    ours, gguf, best = (WORK / f"{source.name}-{form}" for form in ("w4g128", "q4_0", "q4_0.gguf"))
    context = qz.Context(threads=args.threads)
    if not ours.is_dir():
        model = qz.Model.open(source, context=context)
        qz.Plan(model).add("*", "rtn", "w4g128").add("lm_head", "rtn", "w8g128").run(None, format="compressed-tensors", stream_to=ours)
    if not best.is_file():
        if not gguf.is_dir():
            qz.Plan(qz.Model.open(source, context=context)).add("*", "rtn", "q4_0").run(None, format="gguf", stream_to=gguf)
        if load().peer_llama_quantize(str(gguf / "model.gguf").encode(), str(best).encode(), args.threads) != 0:
            raise RuntimeError(f"llama.cpp does not quantize {gguf}")
    return ours, best


class Ours:
    def __init__(self, directory, threads):
        self.model = qz.Model.open(directory, context=qz.Context(threads=threads))
        self._session = qz.Session(self.model, BEFORE + PROMPT)
        self.name = "libqz"

    def run(self, ids, before, whole, products):
        """Seconds of ids[before:]."""
        self._session.reset()
        self._session.products = products
        if before:
            self._session.feed(ids[:before])
        start = time.perf_counter()
        for part in [ids[before:]] if whole else ids[before:].reshape(-1, 1):
            self.logits = self._session.logits(part, last_only=True)[0]
        return time.perf_counter() - start


class LlamaCpp:
    def __init__(self, file, threads, own_buffers):
        self._library = load()
        self._self = self._library.peer_llama_open(str(file).encode(), threads, BEFORE + PROMPT, own_buffers)
        if not self._self:
            raise RuntimeError(f"llama.cpp does not load {file}")
        self.name = "llama.cpp Q4_0"

    def run(self, ids, before, whole):
        ids = np.ascontiguousarray(ids, dtype=np.int32)
        seconds = self._library.peer_llama_run(self._self, ids.ctypes.data, before, ids.size - before, int(whole))
        if seconds < 0:
            raise RuntimeError("llama.cpp fails")
        return seconds

    def logits_of(self, outputs):
        return np.ctypeslib.as_array(self._library.peer_llama_logits(self._self), (outputs,)).copy()


def measure(args, floors, note):
    usable, words = ggml_sides.usable_buffers(args.threads)
    note(words)
    directory, file = files(args)
    ours = Ours(directory, args.threads)
    # llama.cpp takes the best of its buffers that a type has: all of them, or none.
    theirs = LlamaCpp(file, args.threads, int(not words))
    ids = np.random.default_rng(0).integers(3, ours.model.info.vocab, BEFORE + PROMPT).astype(np.int32)
    print(f"\n{SHAPE}, tokens per second: libqz {bytes_of(directory) / 1e6:.0f} MB, llama.cpp {bytes_of(file) / 1e6:.0f} MB with {' '.join(usable)}")
    found = []
    parts = [("decode", DECODED, ids[:BEFORE + DECODED], BEFORE, False), ("prefill", PROMPT, ids[:PROMPT], 0, True)]
    kinds = [kind for kind in PRODUCTS if kind != "bf16" or any(word in floors.engine() for word in ("bf16", "amx"))]
    for products, (what, tokens, part, before, whole) in itertools.product(kinds, parts):
        ours.run(part, before, whole, products)
        theirs.run(part, before, whole)
        alike = np.corrcoef(ours.logits, theirs.logits_of(ours.logits.size))[0, 1]
        read = floors.again()
        pairs = []
        for _ in range(7):
            pairs.append((ours.run(part, before, whole, products), theirs.run(part, before, whole)))
            time.sleep(0.02)
        mine, peer = (statistics.median(p[i] for p in pairs) / tokens for i in (0, 1))
        ratio = statistics.median(b / a for a, b in pairs)
        floor = bytes_of(directory) / read if not whole else float("nan")
        what = what if products == "exact" else f"{what}, {products}"
        print(f"{what:13} libqz {1 / mine:8.1f}, {theirs.name} {1 / peer:8.1f}, ratio {ratio:.2f}; logits correlate at {alike:.4f}"
              + (f"; {100 * floor / mine:.0f} % of memory at {read / 1e9:.1f} GB/s" if not whole else ""), flush=True)
        found.append({"shape": what, "m": tokens, "tokens_s": 1 / mine, "read": read, "correlation": float(alike), "bytes": bytes_of(directory),
                      "peers": {theirs.name: {"tokens_s": 1 / peer, "ratio": ratio, "bytes": bytes_of(file)}}})
    return found
