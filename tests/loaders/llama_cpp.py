"""Does llama.cpp load the GGUF files that libqz writes, and compute the same? llama_cpp.py SOURCE BUILD [model directory ...]

SOURCE: llama.cpp as the llama-cpp-python source package has it. BUILD: where its libraries are. `./dev loaders gguf` gets and builds it.

Each case quantizes the model, has llama.cpp evaluate it on text that the model wrote itself, and fails if the perplexities differ by
more than 0.1 %. llama.cpp rounds the inputs of layers to 8 bits where weights are blocks, in parts of 32 or 256: logits differ by a few
hundredths for that reason alone; "kept", where one layer is in blocks, shows how much.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bindings/python"))

import numpy as np

import qz
from qz.mixes import MIXES, mix_rules

RATIO = 1e-3  # what perplexities may differ by
WINDOW, WINDOWS, SAMPLES = 256, 16, 16
MODES = ["kept", *MIXES]


def build_program(source, build, directory):
    """tests/loaders/llama_cpp.cc against llama.cpp's libraries."""
    program = os.path.join(directory, "llama_cpp")
    libraries = str(pathlib.Path(build).resolve() / "bin")
    subprocess.run(["g++", "-O1", "-std=c++17", f"-I{source}/include", f"-I{source}/ggml/include", str(ROOT / "tests/loaders/llama_cpp.cc"),
                    "-o", program, f"-L{libraries}", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{libraries}"], check=True)
    return program


def quantize(model, mode, calibration, directory):
    """"kept": nothing is quantized but one layer, because a file without codes is no quantized file."""
    plan = qz.Plan(model)
    if mode == "kept":
        plan.add("*", "keep").add(model.modules[0].name, "rtn", "q8_0")
        return plan.run(None, format="gguf", stream_to=directory)
    code = MIXES[mode][0]
    plan.add("*", "gptq", code)
    for name, other in mix_rules(model, mode):
        plan.add(name, "gptq", other)
    return plan.run(calibration, format="gguf", stream_to=directory)


def main(source, build, directories):
    bad = cases = 0
    with tempfile.TemporaryDirectory() as parent:
        program = build_program(source, build, parent)
        for directory in directories:
            model = qz.Model.open(directory)
            calibration = qz.Calibration.generated(model, SAMPLES, WINDOW, seed=1)
            text = qz.Calibration.generated(model, WINDOWS, WINDOW, seed=2)
            tokens = os.path.join(parent, "tokens")
            np.concatenate([np.asarray(ids, dtype=np.int32) for ids in text]).tofile(tokens)
            print(f"\n{directory}: perplexity {qz.perplexity(model, text, window=WINDOW).perplexity:.4f}\n"
                  f"{'mix':10}{'ppl qz':>11}{'ppl llama.cpp':>15}{'ratio':>11}{'rms of logits':>15}", flush=True)
            for mode in MODES:
                out = os.path.join(parent, f"{mode}-{cases}")
                made = quantize(model, mode, calibration, out)
                ours = qz.perplexity(made, text, window=WINDOW).perplexity
                logits = os.path.join(parent, "logits")
                run = subprocess.run([program, out + "/model.gguf", tokens, str(WINDOW), logits], capture_output=True, text=True)
                cases += 1
                if run.returncode != 0:
                    bad += 1
                    print(f"{mode:10}  FAIL  {run.stderr.strip().splitlines()[-1:]}", flush=True)
                    continue
                theirs = float(run.stdout)
                difference = qz.Session(made).logits(text[0]) - np.fromfile(logits, np.float32).reshape(WINDOW, -1)
                rms = float(np.sqrt(np.mean(np.square(difference))))
                good = abs(theirs / ours - 1) <= RATIO
                bad += not good
                print(f"{mode:10}{ours:11.4f}{theirs:15.4f}{theirs / ours:11.6f}{rms:15.4f}{'' if good else '  FAIL'}", flush=True)
    print(f"\n{bad} of {cases} failed")
    return bad


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(1 if main(sys.argv[1], sys.argv[2], sys.argv[3:] or [str(ROOT / "examples/llama-1m")]) else 0)
