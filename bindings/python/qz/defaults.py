"""Every number that the package chooses when the user does not. Those of the solver are the library's (docs/accuracy.md)."""
from __future__ import annotations

SCHEME = "w4g128"
GGUF_PRESET = "q4_k_m"  #: of --format gguf
SAMPLES = 128  #: calibration sequences
LENGTH = 2048  #: tokens of one, at most; less if the model's positions end before
SMALL_LENGTH = 512  #: the same for a small model, ...
SMALL_PARAMETERS = 100_000_000  #: ... one that has fewer parameters than this
MODE_WITH_TEXT = "mix"  #: half the user's text, half text that the model writes itself
MODE_WITHOUT_TEXT = "self"  #: text that the model writes itself
SEED = 0
MAX_TOKENS = 128  #: of generated text


def calibration_length(parameters: int, max_seq: int) -> int:
    """Tokens of one calibration sequence for a model."""
    return min(SMALL_LENGTH if parameters < SMALL_PARAMETERS else LENGTH, max_seq)
