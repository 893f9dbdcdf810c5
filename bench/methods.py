#!/usr/bin/env python3
"""Seconds and GB/s of quantizing a large model without data, beside the disk and the peers, as Markdown tables.

    tools/make_random_model.py tinyllama-1.1b MODEL
    bench/methods.py MODEL --scratch DIR [--threads 2] [--rows nf4 ...] [--peers PYTHON] [--llama SOURCE BUILD] [--repeat 2]

Ours is `qz quantize` as a process: start, read, quantize, judge, hash, write, sync. PYTHON has torch, safetensors, bitsandbytes and hqq
(tests/loaders/requirements.txt): the same tensors one after the other through their functions, in one process; "quantize" is the time within
the function alone, "all" adds reading from safetensors and writing the results with safetensors' save_file, not synced. SOURCE and BUILD are
llama.cpp's (as `./dev loaders gguf` has them, built with -DGGML_NATIVE=ON to be fair): llama_model_quantize of a BF16 file, embedding and
head kept; it reads and writes. GB/s counts the bytes of the linear layers in the blocks as they are stored in MODEL. The best of --repeat
runs, which take turns.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
# name, arguments of qz quantize, peer
ROWS = {
    "nf4": ("NF4, blocks of 64", ["--preset", "nf4"], "bitsandbytes nf4"),
    "nf4-dq": ("NF4, double quantization", ["--preset", "nf4-dq"], "bitsandbytes nf4-dq"),
    "int8": ("INT8 by rows, compressed-tensors", ["--preset", "int8"], "bitsandbytes int8"),
    "eetq": ("INT8 by rows, EETQ", ["--preset", "eetq"], "bitsandbytes int8"),
    "llm-int8": ("LLM.int8()", ["--preset", "llm-int8"], "bitsandbytes int8"),
    "hqq": ("HQQ, 4 bits, groups of 64", ["--preset", "hqq-w4g64"], "hqq 4 64"),
    "q4_k": ("Q4_K", ["--scheme", "q4_k", "--format", "gguf"], "llama.cpp 14 pure"),
    "q4_k_m": ("Q4_K_M", ["--preset", "q4_k_m"], "llama.cpp 15"),
}

LLAMA = r"""
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include "llama.h"
int main(int, char** argv) {  // IN OUT FILETYPE THREADS PURE
  llama_backend_init();
  llama_model_quantize_params p = llama_model_quantize_default_params();
  p.ftype = static_cast<llama_ftype>(std::atoi(argv[3]));
  p.nthread = std::atoi(argv[4]);
  p.allow_requantize = true;  // the layer that is in blocks already
  p.pure = std::atoi(argv[5]) != 0;
  p.token_embedding_type = p.output_tensor_type = GGML_TYPE_BF16;
  return static_cast<int>(llama_model_quantize(argv[1], argv[2], &p));
}
"""

# What llama.cpp starts from: 16 bits but for one layer, since a file without codes is no quantized file.
PLAIN = """import sys, qz
model = qz.Model.open(sys.argv[1])
qz.Plan(model).add("*", "keep").add(model.modules[0].name, "rtn", "q8_0").run(None, format="gguf", stream_to=sys.argv[2])"""


def measured(command, **more):
    """Wall seconds, CPU seconds and the largest resident memory in MiB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, **more)
    out = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out


def headers(model):
    for path in sorted(pathlib.Path(model).glob("*.safetensors")):
        with open(path, "rb") as f:
            yield path, json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))


def linear_names(model):
    return [(path, name, entry["data_offsets"][1] - entry["data_offsets"][0]) for path, header in headers(model) for name, entry in header.items()
            if ".layers." in name and len(entry.get("shape", ())) == 2]


# ---- the peers, in their own Python


def peer_main(kind, model, out, threads):
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    torch.set_num_threads(threads)
    words = kind.split()
    if words[0] == "bitsandbytes":
        import bitsandbytes.functional as F

        if words[1] == "int8":
            def quantize(w):
                codes, scales, _ = F.int8_vectorwise_quant(w.half())
                return {"weight": codes, "SCB": scales}
        else:
            def quantize(w):
                codes, state = F.quantize_4bit(w, blocksize=64, compress_statistics=words[1] == "nf4-dq", quant_type="nf4")
                return {"weight": codes, "absmax": state.absmax}
    else:
        from hqq.core.quantize import Quantizer

        def quantize(w):
            codes, meta = Quantizer.quantize(w, nbits=int(words[1]), group_size=int(words[2]), axis=1, device="cpu", compute_dtype=torch.float16,
                                             optimize=True)
            return {"W_q": codes, "scale": meta["scale"], "zero": meta["zero"]}

    quantize(torch.randn(256, 256, dtype=torch.bfloat16))  # what is loaded late
    within, results, files = 0.0, {}, {}
    start, cpu = time.perf_counter(), time.process_time()
    with torch.no_grad():
        for path, name, _ in linear_names(model):
            if path not in files:
                files[path] = safe_open(path, "pt")
            w = files[path].get_tensor(name)
            t = time.perf_counter()
            made = quantize(w)
            within += time.perf_counter() - t
            results.update({f"{name}.{part}": v.contiguous() for part, v in made.items()})
    save_file(results, os.path.join(out, "peer.safetensors"))
    print(json.dumps({"within": within, "all": time.perf_counter() - start, "cpu": time.process_time() - cpu}))


# ---- the table


def drop_caches():
    subprocess.run(["sync"], check=True)
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def read_all(model):
    start = time.perf_counter()
    total = 0
    for path, _ in headers(model):
        with open(path, "rb", buffering=0) as f:
            while block := f.read(1 << 24):
                total += len(block)
    return total / (time.perf_counter() - start) / 1e9


def write_synced(scratch, size=1 << 30):
    path, block = os.path.join(scratch, "disk"), os.urandom(1 << 24)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as f:
        for _ in range(size >> 24):
            f.write(block)
        os.fsync(f.fileno())
    seconds = time.perf_counter() - start
    os.unlink(path)
    return size / seconds / 1e9


def build_llama(source, build, scratch):
    program = os.path.join(scratch, "llama_quantize")
    text = os.path.join(scratch, "llama_quantize.cc")
    pathlib.Path(text).write_text(LLAMA)
    libraries = sorted({str(p.parent) for p in pathlib.Path(build).rglob("lib*.so")})
    flags = [x for d in libraries for x in (f"-L{d}", f"-Wl,-rpath,{d}")]
    subprocess.run(["g++", "-O1", "-std=c++17", f"-I{source}/include", f"-I{source}/ggml/include", text, "-o", program, *flags, "-lllama", "-lggml",
                    "-lggml-base"], check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--peers", help="a Python that has them")
    parser.add_argument("--llama", nargs=2, metavar=("SOURCE", "BUILD"))
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--no-disk", action="store_true")
    parser.add_argument("--peer-kind", help=argparse.SUPPRESS)
    a = parser.parse_args()
    os.makedirs(a.scratch, exist_ok=True)
    if a.peer_kind:
        return peer_main(a.peer_kind, a.model, a.scratch, a.threads)
    names = linear_names(a.model)
    size = sum(n for _, _, n in names) / 1e9
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    print(f"{os.path.basename(os.path.normpath(a.model))}: {len(names)} linear layers, {size:.2f} GB; {cpu}, {a.threads} threads, {time.strftime('%Y-%m-%d')}\n")
    if not a.no_disk:
        cold = f"{read_all(a.model):.2f} GB/s cold, " if drop_caches() else "cold: not allowed here, "
        print(f"disk: read {cold}{read_all(a.model):.2f} GB/s from the page cache; write with sync {write_synced(a.scratch):.2f} GB/s\n")
    env = dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python"), OMP_NUM_THREADS=str(a.threads), MKL_NUM_THREADS=str(a.threads))
    out, plain = os.path.join(a.scratch, "out"), os.path.join(a.scratch, "plain")
    program = build_llama(*a.llama, a.scratch) if a.llama else None
    if program and not os.path.exists(plain):
        subprocess.run([sys.executable, "-c", PLAIN, a.model, plain], env=env, check=True, stdout=subprocess.DEVNULL)

    def ours(row):
        shutil.rmtree(out, ignore_errors=True)
        wall, seconds, memory, _ = measured([sys.executable, "-m", "qz", "quantize", a.model, out, "--method", "hqq" if row == "hqq" else "rtn", "--threads",
                                             str(a.threads), *ROWS[row][1]], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return {"all": wall, "cpu": seconds, "memory": memory}

    def theirs(row):
        kind = ROWS[row][2].split()
        if kind[0] == "llama.cpp":
            if not program:
                return None
            target = os.path.join(a.scratch, "theirs.gguf")
            wall, seconds, memory, _ = measured([program, os.path.join(plain, "model.gguf"), target, kind[1], str(a.threads), str(int("pure" in kind))],
                                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            os.unlink(target)
            return {"within": wall, "all": wall, "cpu": seconds, "memory": memory}
        if not a.peers:
            return None
        _, _, memory, text = measured([a.peers, __file__, a.model, "--scratch", a.scratch, "--threads", str(a.threads), "--peer-kind", ROWS[row][2]],
                                      env=env, stdout=subprocess.PIPE)
        os.unlink(os.path.join(a.scratch, "peer.safetensors"))
        return dict(json.loads(text.splitlines()[-1]), memory=memory)

    print("| what | qz: s | GB/s | CPU s | peak MiB | peer | quantize: s | all: s | CPU s | peak MiB | qz / peer's quantize |\n" + "|---" * 11 + "|", flush=True)
    for row in a.rows:
        best, peer = None, None
        for _ in range(a.repeat):
            mine, other = ours(row), theirs(row)
            best = mine if best is None or mine["all"] < best["all"] else best
            peer = other if other and (peer is None or other["within"] < peer["within"]) else peer
        cells = [ROWS[row][0], f"{best['all']:.1f}", f"{size / best['all']:.2f}", f"{best['cpu']:.1f}", f"{best['memory']:.0f}", ROWS[row][2]]
        if peer:
            cells += [f"{peer['within']:.1f}", f"{peer['all']:.1f}", f"{peer['cpu']:.1f}", f"{peer['memory']:.0f}", f"{best['all'] / peer['within']:.2f}"]
        print("| " + " | ".join(cells + [""] * (11 - len(cells))) + " |", flush=True)
    shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
