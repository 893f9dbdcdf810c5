"""Calibration: token sequences to quantize or evaluate with."""
from __future__ import annotations

import os
from typing import Any, Iterable, Iterator, Optional, Sequence

from . import corpus, defaults
from ._call import c_string, check
from ._handle import Handle
from ._library import ffi, lib
from ._numpy import np
from .context import Context, default_context, logger
from .errors import InvalidArgument
from .model import Model
from .progress import ProgressFunction, long_call
from .tensor import as_tensor, c_tensor, c_tokens, token_array
from .text import Tokenizer

#: Where the tokens come from: the user's text, text that the model writes itself, or half of each.
MODES = ("mix", "text", "self")


class Calibration(Handle):
    """Token sequences. len() is the number of sequences, [i] the ids of one (int32, a copy), `tokens` the sum of their lengths."""

    _kind = "qz_calib"

    def __init__(self, context: Optional[Context] = None) -> None:
        out = ffi.new("qz_calib **")
        check(lib.qz_calib_create((context or default_context())._pointer, out))
        super().__init__(out[0])

    @classmethod
    def from_tokens(cls, sequences: Iterable[Any], context: Optional[Context] = None) -> Calibration:
        """sequences: lists or arrays of token ids, one a sequence; an array [sequences, tokens] is that too.

        >>> calibration = qz.Calibration.from_tokens([[5, 6, 7], [8, 9]])
        >>> len(calibration), calibration.tokens
        (2, 5)
        """
        calibration = cls(context)
        for ids in sequences:
            calibration.add_tokens(ids)
        return calibration

    @classmethod
    def generated(cls, model: Model, sequences: int = defaults.SAMPLES, length: Optional[int] = None, seed: int = defaults.SEED,
                  progress: Optional[ProgressFunction] = None) -> Calibration:
        """`sequences` texts of `length` tokens that the model writes itself: no data needed. Depends on weights and seed only."""
        calibration = cls(model.context)
        calibration.add_generated(model, sequences, length or _length(model), seed, progress)
        return calibration

    @classmethod
    def from_files(cls, model: Model, paths: Sequence[str | os.PathLike[str]], samples: int = defaults.SAMPLES,
                   length: Optional[int] = None, tokenizer: Optional[Tokenizer] = None) -> Calibration:
        """At most `samples` sequences of `length` tokens from text (.txt), JSON lines with a "text" field (.jsonl) or token ids
        (.npy). Fewer if the files do not hold more, with a warning; InvalidArgument if they do not fill one."""
        length = length or _length(model)
        if tokenizer is None and not all(map(corpus.is_token_file, paths)):
            tokenizer = model.tokenizer()
        found = corpus.samples_of(paths, tokenizer, length, samples)
        if len(found) < samples:
            logger.warning("the calibration text fills %d samples of %d tokens, not the %d asked for", len(found), length, samples)
        return cls.from_tokens(found, model.context)

    @classmethod
    def for_model(cls, model: Model, paths: Sequence[str | os.PathLike[str]] = (), mode: Optional[str] = None,
                  samples: int = defaults.SAMPLES, length: Optional[int] = None, seed: int = defaults.SEED,
                  progress: Optional[ProgressFunction] = None) -> Calibration:
        """What `qz quantize` calibrates with.

        mode: "text" = the files alone, "self" = what the model writes itself, "mix" = half and half, the model filling what short
        files leave open. None: "mix" with files, "self" without.
        """
        mode = mode or (defaults.MODE_WITH_TEXT if paths else defaults.MODE_WITHOUT_TEXT)
        if mode not in MODES:
            raise InvalidArgument(f"calibration mode {mode!r} is not one of {', '.join(MODES)}")
        if (mode == "self") == bool(paths):
            raise InvalidArgument(f"calibration mode {mode!r} {'takes no files' if paths else 'needs a file with text or tokens'}")
        if samples < 1:
            raise InvalidArgument(f"calibration needs at least one sample, not {samples}")
        if not paths:
            return cls.generated(model, samples, length, seed, progress)
        from_user = samples if mode == "text" else samples - samples // 2
        calibration = cls.from_files(model, paths, from_user, length)
        if mode == "mix" and len(calibration) < samples:  # as long as the user's, so that half of the samples is half of the tokens
            calibration.add_generated(model, samples - len(calibration), round(calibration.tokens / len(calibration)), seed, progress)
        return calibration

    @classmethod
    def load(cls, path: str | os.PathLike[str], context: Optional[Context] = None) -> Calibration:
        """Reads what save() wrote. BadFile if it is damaged."""
        out = ffi.new("qz_calib **")
        check(lib.qz_calib_load((context or default_context())._pointer, c_string(path), out))
        calibration = cls.__new__(cls)
        Handle.__init__(calibration, out[0])
        return calibration

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one compressed file with a checksum, so that a run can be repeated without the tokenizer."""
        check(lib.qz_calib_save(self._pointer, c_string(path)))

    def write_imatrix(self, model: Model, path: str | os.PathLike[str], progress: Optional[ProgressFunction] = None) -> None:
        """Writes llama.cpp's importance matrix of this text: for each linear layer of the model the mean square of each of its inputs.
        Unsupported for a family that llama.cpp does not have."""
        long_call(progress, lambda callback: lib.qz_imatrix_write(model._pointer, self._pointer, c_string(path), callback, ffi.NULL))

    def add_tokens(self, ids: Any) -> None:
        """Appends one sequence of token ids. They are checked against the vocabulary when they are used."""
        array = token_array(ids)
        check(lib.qz_calib_add_tokens(self._pointer, c_tokens(array), array.size))

    def add_embeddings(self, x: Any) -> None:
        """Appends one sequence that is not token ids but what the embedding makes of them, with pictures in their places:
        [tokens, hidden], float32, float16 or bfloat16; what transformers calls inputs_embeds. It calibrates; it cannot be looked at,
        evaluated or saved."""
        tensor = as_tensor(x)
        check(lib.qz_calib_add_embeddings(self._pointer, c_tensor(tensor)))

    def add_generated(self, model: Model, sequences: int, length: int, seed: int = defaults.SEED,
                      progress: Optional[ProgressFunction] = None) -> None:
        """Appends text that the model writes itself, temperature 1, from its beginning-of-text token."""
        long_call(progress, lambda callback: lib.qz_calib_add_generated(self._pointer, model._pointer, sequences, length, seed, callback,
                                                                        ffi.NULL))

    @property
    def tokens(self) -> int:
        """Tokens in all sequences."""
        return lib.qz_calib_tokens(self._pointer)

    def __len__(self) -> int:
        return lib.qz_calib_sequences(self._pointer)

    def __getitem__(self, i: int) -> np.ndarray:
        if not -len(self) <= i < len(self):
            raise IndexError(f"sequence {i} of {len(self)}")
        ids, count = ffi.new("const int32_t **"), ffi.new("size_t *")
        check(lib.qz_calib_get(self._pointer, i % len(self), ids, count))
        return np.frombuffer(ffi.buffer(ids[0], count[0] * 4), np.int32).copy()

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))


def _length(model: Model) -> int:
    return defaults.calibration_length(model.info.parameters, model.info.max_seq)
