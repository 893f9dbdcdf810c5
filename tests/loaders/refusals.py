"""Does `qz check` say beforehand what transformers says when it loads? `.venv-loaders/bin/python tests/loaders/refusals.py`, after
`./dev loaders` has made that environment.

Directories that llm-compressor wrote (tests/data/goldens/quantized; run.py opens those of GPTQModel's formats), the sample model
quantized by qz, and that one broken in every way of bindings/python/tests/broken.py. transformers refuses a directory when it raises,
when it makes up weights that the file does not have, when it leaves weights of the file out, or when what it computes is not finite.
Exit 1: one that transformers refuses and qz passes. A directory that only qz refuses is listed: transformers takes what vLLM does not
(a stray file), or takes it for something else.
"""
import contextlib
import logging
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "bindings/python"), str(ROOT / "bindings/python/tests")]

import numpy as np
import torch
from broken import BROKEN
from transformers import AutoModelForCausalLM

import qz

LOADER = "transformers"


@torch.no_grad()
def refusal(directory):
    """In the loader's words; "" if it loads the directory whole. None: a package that the format needs is not installed."""
    try:
        model, info = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
        left = {kind: sorted(map(str, info.get(kind) or ())) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")}
        for kind, names in left.items():
            if names:
                return f"{len(names)} {kind.replace('_', ' ')}: {names[0]}"
        logits = model(input_ids=torch.arange(3, 19)[None]).logits
        return "" if torch.isfinite(logits).all() else "its logits are not finite"
    except ImportError as problem:
        return None if "install" in str(problem) else first_line(problem)
    except Exception as problem:  # whatever a loader raises is the finding
        return first_line(problem)


def first_line(problem):
    return f"{type(problem).__name__}: {next(iter(str(problem).strip().splitlines()), '')}"


def prediction(directory):
    """What qz says would be refused; "" if nothing."""
    try:
        with qz.Model.open(directory) as model:
            errors = [f for f in qz.check_loading(model, LOADER) if f.severity == "error"]
        return errors[0].text if errors else ""
    except qz.Error as problem:
        return str(problem)


def directories(parent):
    """(what, directory) of every case."""
    for golden in sorted((ROOT / "tests/data/goldens/quantized").glob("*-ct-*/config.json")):
        yield golden.parent.name, golden.parent
    whole = parent / "whole"
    with qz.Model.open(ROOT / "examples/llama-1m") as model:
        qz.rtn(model, "w4g128", stream_to=whole).close()
    yield "quantized by qz", whole
    for what, change, _ in BROKEN:
        directory = parent / what.replace(" ", "-")
        shutil.copytree(whole, directory)
        change(directory)
        yield what, directory
        shutil.rmtree(directory)


def main():
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    surprises = both = only_qz = loads = unknown = 0
    with tempfile.TemporaryDirectory() as parent:
        for what, directory in directories(pathlib.Path(parent)):
            with contextlib.redirect_stdout(sys.stderr):
                real = refusal(directory)
            ours = prediction(directory)
            surprise = bool(real) and not ours
            surprises, both, only_qz = surprises + surprise, both + bool(real and ours), only_qz + bool(ours and real == "")
            loads, unknown = loads + (real == "" and not ours), unknown + (real is None)
            print(f"{what}{'   NOT PREDICTED' if surprise else ''}")
            print(f"    {LOADER:13}{'cannot tell: a package is missing' if real is None else real[:110] or 'loads'}")
            print(f"    {'qz check':13}{ours.replace(str(directory), 'DIR')[:110] or 'passes'}", flush=True)
    print(f"{both} refused by both, {loads} pass both, {only_qz} refused by qz alone, {unknown} not told, {surprises} not predicted")
    return bool(surprises)


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
