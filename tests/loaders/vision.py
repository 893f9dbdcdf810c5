"""A model that sees, end to end, against transformers: `tests/loaders/vision.py`, with torch and transformers, on the tiny InternVL golden.

transformers makes embeddings from pictures (with the code of examples/quantize_vision.py), which calibrate GPTQ together with text. What qz
writes, quantized and then as plain weights, transformers opens again: from pixels and from token ids it must compute what qz computes
from embeddings and from token ids.
"""
import importlib.util
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bindings/python"))

import numpy as np
import torch
import transformers

import qz

GOLDEN = ROOT / "tests/data/goldens/models/internvl-qwen3"


def load_example():
    spec = importlib.util.spec_from_file_location("quantize_vision", ROOT / "examples/quantize_vision.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(name):
    return np.load(GOLDEN / f"{name}.npy")


def open_transformers(directory):
    return transformers.AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval()


def largest(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max())


@torch.no_grad()
def compare(directory, picture):
    """The largest relative difference between qz and transformers: with pictures, and on text alone."""
    theirs, example = open_transformers(directory), load_example()
    x = example.embeddings(theirs, **picture)
    ids = load("tokens").astype(np.int64)
    seen, read = theirs(**picture).logits.numpy(), theirs(input_ids=torch.from_numpy(ids)).logits.numpy()
    differences = []
    with qz.Model.open(directory) as model:
        for ours, want in ((lambda s, i: s.logits_of_embeddings(x[i]), seen), (lambda s, i: s.logits(ids[i]), read)):
            differences.append(max(largest(ours(qz.Session(model), i), want[i]) for i in range(len(want))))
    return x, seen, differences


def main():
    transformers.utils.logging.disable_progress_bar()
    picture = {"input_ids": torch.from_numpy(load("tokens_image").astype(np.int64)), "pixel_values": torch.from_numpy(load("pixel_values"))}
    x, seen, before = compare(GOLDEN, picture)
    print(f"original: pictures {before[0]:.1e}, text {before[1]:.1e}")
    with tempfile.TemporaryDirectory() as directory, qz.Model.open(GOLDEN) as model:
        calibration = qz.Calibration.generated(model, sequences=4, length=32)
        for one in x:
            calibration.add_embeddings(one)
        quantized = qz.gptq(model, calibration, scheme="w4g16", stream_to=f"{directory}/w4g16")
        session = qz.Session(quantized)
        print(f"quantized, from the original's embeddings: {largest(session.logits_of_embeddings(x[0]), seen[0]):.2f}")
        quantized.save(f"{directory}/plain", format="plain")
        _, _, after = compare(f"{directory}/plain", picture)
        print(f"its weights without codes: pictures {after[0]:.1e}, text {after[1]:.1e}")
    return max(before + after) > 1e-4


if __name__ == "__main__":
    sys.exit(main())
