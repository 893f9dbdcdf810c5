"""The announced peak of a quantization run against what the system measured, each in a process of its own. The model is small:
what the allocator keeps is a good part of it, and is what the tolerance is for."""
import json
import subprocess
import sys

import pytest
from sample import ENVIRONMENT, SAMPLE

RUN = """
import json, sys, tempfile
import numpy as np, qz
path, method, sequences, length, options = json.loads(sys.argv[1])
context = qz.Context(2)
model = qz.Model.open(path, context=context)
rng = np.random.default_rng(0)
tokens = qz.Calibration.from_tokens([rng.integers(3, model.info.vocab, length) for _ in range(sequences)], context)
plan = qz.Plan(model).add("*", method, "w4g128", qz.GptqOptions(**options))
expected = qz.estimate(model, qz.MemoryQuery(goal="quantize", plan=plan, batch=sequences, seq_len=length)).host
with tempfile.TemporaryDirectory() as directory:
    plan.run(tokens, stream_to=directory + "/out")
print(json.dumps([expected, qz.MemoryUsage.now().host_peak]))  # VmHWM: ru_maxrss begins with the parent's
"""


@pytest.mark.parametrize("method, sequences, length, options", [("rtn", 1, 8, {}), ("gptq", 64, 256, {"metric": 0, "sweeps": 1}),
                                                                ("gptq", 64, 256, {"metric": 0, "sweeps": 1, "drift": 0, "residual": 0})])
def test_the_peak_is_what_was_announced(method, sequences, length, options):
    done = subprocess.run([sys.executable, "-c", RUN, json.dumps([str(SAMPLE), method, sequences, length, options])], capture_output=True,
                          text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    expected, measured = json.loads(done.stdout)
    assert 0.88 < expected / measured < 1.12, f"{expected / 1e6:.1f} MB announced, {measured / 1e6:.1f} MB measured"
