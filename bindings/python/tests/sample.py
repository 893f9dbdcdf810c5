"""The sample model that ships with the project."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "examples" / "llama-1m"
VOCAB = 2048
LAYERS = 4
MODULES = LAYERS * 7
EOS = 1
