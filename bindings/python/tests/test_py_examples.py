"""The example in Python. The wheel is built and used by ./dev packages."""
import subprocess
import sys

from sample import ENVIRONMENT, ROOT, SAMPLE

import qz


def test_example(tmp_path):
    words = [sys.executable, ROOT / "examples/quantize.py", SAMPLE, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert qz.Model.open(tmp_path / "out").info.format == "compressed-tensors"
    kl = {line.split()[0]: float(line.split("KL ")[1].split()[0]) for line in done.stdout.splitlines()}
    assert kl["GPTQ"] < kl["rounded"]
    again = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
    assert again.returncode == 1 and "Traceback" not in again.stderr


def test_graph_example_says_why_it_is_skipped():
    """Where there is a GPU, it has to work there; elsewhere it says what is missing."""
    done = subprocess.run([sys.executable, ROOT / "examples/torch_graph.py"], capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode == 77:
        assert done.stdout.startswith("SKIPPED: ") and len(done.stdout.split()) > 3, done.stdout
    else:
        assert done.returncode == 0 and done.stdout.count("relative error") == 3, done.stdout + done.stderr
