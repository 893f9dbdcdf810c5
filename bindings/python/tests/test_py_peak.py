"""The announced peak of a quantization run against what the system measured, each run in a process of its own: at most 5 % too much, at
most 2 % too little."""
import json
import subprocess
import sys

import pytest
from enlarge import enlarge
from sample import ENVIRONMENT, ROOT, SAMPLE

RUN = """
import json, sys, tempfile
import numpy as np, qz
path, method, scheme, format, sequences, length, options, threads, keep, transform, also = json.loads(sys.argv[1])
context = qz.Context(threads)
model = qz.Model.open(path, context=context)
rng = np.random.default_rng(0)
tokens = qz.Calibration.from_tokens([rng.integers(3, model.info.vocab, length) for _ in range(sequences)], context) if sequences else None
plan = qz.Plan(model)
for glob in ["*", *also]:
    plan.add(glob, method, scheme, qz.GptqOptions(**options) if method == "gptq" else None, transform)
query = qz.MemoryQuery(goal="quantize", plan=plan, format=format, batch=sequences or 1, seq_len=length, in_memory=keep)
expected = qz.estimate(model, query)
with tempfile.TemporaryDirectory() as directory:
    result = plan.run(tokens, format=format, **({} if keep else {"stream_to": directory + "/out"}))
measured = qz.MemoryUsage.now().host_peak  # VmHWM: ru_maxrss begins with the parent's
print(json.dumps([expected.host, measured, result.report_json()["memory"], [f"{item.bytes / 1e6:.1f} {item.what}" for item in expected.items if item.where == "host"]]))
"""
SWEEP = {"sweeps": 1}
FAST = {"metric": 0, **SWEEP}
ONE = {**FAST, "drift": 0, "residual": 0}
#       model            method  scheme     format                sequences, tokens, options, threads, in memory, transform, modules beside "*"
RUNS = [("llama-1m",      "rtn",  "w4g128",  "compressed-tensors", 0,  8,   {}, 2, False),
        ("llama-1m",      "gptq", "w4g128",  "compressed-tensors", 64, 256, FAST, 2, False),
        ("llama-1m",      "gptq", "w3g128",  "compressed-tensors", 64, 256, ONE, 1, False),
        ("llama-1m",      "gptq", "w4g128",  "gptq",               32, 256, {"sweeps": 1}, 2, False),
        ("small",         "rtn",  "w8",      "compressed-tensors", 0,  8,   {}, 1, False),
        ("small",         "hqq",  "w4g64f",  "hqq",                0,  8,   {}, 2, False),
        ("small",         "rtn",  "nf4-dq",  "bitsandbytes",       0,  8,   {}, 1, True),
        ("small",         "gptq", "w4g128",  "compressed-tensors", 16, 512, FAST, 2, False),
        ("small",         "gptq", "w8g128",  "gptq_v2",            40, 100, ONE, 2, False),
        ("small",         "gptq", "w4g128a", "awq",                4,  1024, {**FAST, "order": "static"}, 1, True),
        ("small-experts", "gptq", "w4g128",  "compressed-tensors", 16, 256, FAST, 2, False),
        # The output metric: gradients of a gated MLP, of a parallel block, behind a second norm, through experts and latent attention.
        ("small",         "gptq", "w4g32",   "compressed-tensors", 24, 256, {**SWEEP, "drift": 0, "residual": 0}, 2, False),
        ("falcon-7b-style", "gptq", "w4g32", "compressed-tensors", 24, 256, SWEEP, 2, False),
        ("gemma2",        "gptq", "w4g32",   "compressed-tensors", 24, 256, SWEEP, 2, False),
        ("qwen2-moe",     "gptq", "w4g32",   "compressed-tensors", 24, 256, SWEEP, 2, False),
        ("deepseek-v2",   "gptq", "w4g32",   "compressed-tensors", 24, 256, SWEEP, 2, False),
        ("gpt2",          "gptq", "w4g32",   "compressed-tensors", 24, 256, SWEEP, 1, False),
        # A head that is larger than a block: gradients of the labels.
        ("wide",          "gptq", "w4g64",   "compressed-tensors", 16, 128, SWEEP, 2, False),
        # Fused layers, experts beside a shared one, latent attention, without it.
        ("phi3-fused",    "gptq", "w4g32",   "compressed-tensors", 24, 256, FAST, 2, False),
        ("gpt-neox",      "gptq", "w4g32",   "compressed-tensors", 24, 256, FAST, 2, False),
        ("qwen2-moe",     "gptq", "w4g32",   "compressed-tensors", 24, 256, FAST, 2, False),
        ("deepseek-v2",   "gptq", "w4g32",   "compressed-tensors", 24, 256, FAST, 2, False),
        # Scales of a transform, before rounding and before GPTQ; the head; blocks; a table.
        ("small",         "rtn",  "w4g128a", "awq",                24, 256, {}, 2, False, "awq"),
        ("opt-pre-ln",    "gptq", "w4g32a",  "awq",                24, 256, FAST, 2, False, "awq"),
        ("small",         "rtn",  "w8a8",    "compressed-tensors", 24, 256, {}, 2, False, "smoothquant"),
        ("small",         "gptq", "w4g32",   "compressed-tensors", 24, 256, FAST, 2, False, None, ["lm_head"]),
        ("small",         "gptq", "q4_0",    "gguf",               24, 256, FAST, 2, False),
        ("small",         "gptq", "nf4",     "bitsandbytes",       24, 256, ONE, 2, False)]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    random = ("small", "wide", "small-experts")
    for shape in random:
        subprocess.run([sys.executable, ROOT / "tools/make_random_model.py", shape, parent / shape], check=True, capture_output=True)
    golden = {run[0] for run in RUNS} - {"llama-1m", *random}
    return {"llama-1m": SAMPLE, **{name: parent / name for name in random}, **{name: enlarge(name, parent / name) for name in golden}}


def words_of(run):
    return "-".join([*map(str, run[:6]), "metric" if run[6] and "metric" not in run[6] else "", *filter(None, run[9:10])])


@pytest.mark.parametrize("run", RUNS, ids=words_of)
def test_the_peak_is_what_was_announced(models, run):
    done = subprocess.run([sys.executable, "-c", RUN, json.dumps([str(models[run[0]]), *run[1:9], *(run[9:] or (None,)), *(() if len(run) > 10 else ([],))])], capture_output=True, text=True,
                          env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    expected, measured, reported, items = json.loads(done.stdout)
    told = f"{expected / 1e6:.1f} MB announced, {measured / 1e6:.1f} MB measured"
    print(told)
    assert 0.98 <= expected / measured <= 1.05, f"{told}: {items}"
    assert abs(reported["estimated"] / expected - 1) < 0.02 and abs(reported["measured"] / measured - 1) < 0.01, f"{told}: {reported}"
