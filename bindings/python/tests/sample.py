"""The sample model that ships with the project, and what a process needs to import the package under test."""
import os
import pathlib

import qz

ROOT = pathlib.Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "examples" / "llama-1m"
VOCAB = 2048
LAYERS = 4
MODULES = LAYERS * 7
EOS = 1
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(qz.__file__).parents[1])}
