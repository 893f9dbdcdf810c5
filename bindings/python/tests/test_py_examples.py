"""The example in Python, and the wheel that a user gets."""
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

from sample import ENVIRONMENT, ROOT, SAMPLE

import qz
from qz import _library


def test_example(tmp_path):
    words = [sys.executable, ROOT / "examples/quantize.py", SAMPLE, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert qz.Model.open(tmp_path / "out").info.format == "compressed-tensors"
    kl = {line.split()[0]: float(line.split("KL ")[1].split()[0]) for line in done.stdout.splitlines()}
    assert kl["GPTQ"] < kl["rounded"]
    again = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
    assert again.returncode == 1 and "Traceback" not in again.stderr


def test_wheel_carries_the_library(tmp_path):
    """Built from a copy of the package, so that nothing is left in the tree, and used without the source tree around it."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "bindings/python", tree / "bindings/python",
                    ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", "tests", "*.so"))
    (tree / "build/release/lib").mkdir(parents=True)
    shutil.copyfile(_library.path.resolve(), tree / "build/release/lib/libqz.so")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path / "dist",
                    tree / "bindings/python"], check=True)
    wheel, = (tmp_path / "dist").iterdir()
    assert wheel.name.startswith(f"qz-{qz.__version__}-py3-none-linux_")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {"qz/libqz.so", "qz/py.typed", "qz/cli/__init__.py", "qz/_cdef.py"} <= names
        archive.extractall(tmp_path / "site")
    code = "import qz, qz._library; print(qz._library.path)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
                          capture_output=True, text=True, check=True)
    assert pathlib.Path(done.stdout.strip()) == tmp_path / "site/qz/libqz.so"
