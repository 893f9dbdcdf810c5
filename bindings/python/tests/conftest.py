"""What the tests share: the sample model, one quantized copy of it, and the command line."""
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from sample import ENVIRONMENT, ROOT, SAMPLE, VOCAB

import qz
import qz.cli

# A shell that runs a job in the background lets it ignore Ctrl-C, and children inherit that; tests that interrupt need the usual handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model():
    with qz.Model.open(SAMPLE) as opened:
        yield opened


@pytest.fixture(scope="session")
def calibration(model):
    return qz.Calibration.generated(model, sequences=16, length=128, seed=3)


@pytest.fixture(scope="session")
def quantized(model, calibration, tmp_path_factory):
    """A directory: the sample model, GPTQ, w4g128, compressed-tensors."""
    out = tmp_path_factory.mktemp("quantized") / "w4"
    qz.gptq(model, calibration, scheme="w4g128", stream_to=out).close()
    return out


@pytest.fixture(scope="session")
def prose(tmp_path_factory):
    """A text file with a few thousand tokens."""
    file = tmp_path_factory.mktemp("text") / "prose.txt"
    file.write_text("\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))))
    return file


@pytest.fixture
def random_tokens(tmp_path):
    """A .npy file with many token sequences: calibrating with it takes a while."""
    file = tmp_path / "tokens.npy"
    np.save(file, np.random.default_rng(0).integers(3, VOCAB, (512, 512), dtype=np.int32))
    return file


@pytest.fixture
def cli(capsys):
    """cli(words...) -> (exit status, stdout, stderr) of `qz words...`, in this process."""

    def run(*words):
        capsys.readouterr()
        status = qz.cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def cli_json(cli):
    """cli_json(words...) -> the one JSON document that `qz words... --json` writes; it must succeed."""

    def run(*words):
        status, out, err = cli(*words, "--json")
        assert status == 0, err
        return json.loads(out)

    return run


@pytest.fixture
def qz_process():
    """qz_process(words...) starts `qz words...` as a process of its own; what is left is killed at the end."""
    started = []

    def start(*words):
        process = subprocess.Popen([sys.executable, "-m", "qz", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=ENVIRONMENT)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
