"""Text to tokens and back with the model's own tokenizer.json. The library itself only knows token ids."""
from __future__ import annotations

import os
import pathlib
from typing import Any, Iterable

from ._numpy import np
from .errors import BadFile, IoError


class Tokenizer:
    """The tokenizer of a model directory, without truncation or padding.

    prefix: the ids that the tokenizer's post-processor puts before a text (beginning-of-text), usually one or none. Every text
    gets them once: never twice, even if it spells them out, and never where the tokenizer says no.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        import tokenizers  # here, so that a program that only handles token ids does not load it
        path = pathlib.Path(directory) / "tokenizer.json"
        if not path.is_file():
            raise IoError(f"{path}: no such file: without the model's tokenizer, give token ids (.npy) instead of text")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as problem:  # the package raises plain Exception
            raise BadFile(f"{path}: {problem}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.prefix = self._find_prefix()

    def _find_prefix(self) -> tuple[int, ...]:
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        dressed = self._tokenizer.encode("a", add_special_tokens=True).ids
        starts = [i for i in range(len(dressed) - len(bare) + 1) if dressed[i:i + len(bare)] == bare]
        return tuple(dressed[:starts[0]]) if starts else ()

    def encode(self, text: str, prefix: bool = True) -> np.ndarray:
        """int32 token ids of a text [tokens]; prefix: with the beginning-of-text tokens, if the model wants them."""
        ids = np.asarray(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        return self.with_prefix(ids) if prefix else ids

    def with_prefix(self, ids: np.ndarray) -> np.ndarray:
        """ids with the prefix in front, unless they start with it."""
        n = len(self.prefix)
        if n == 0 or tuple(ids[:n]) == self.prefix:
            return ids
        return np.concatenate([np.asarray(self.prefix, np.int32), ids])

    def encode_documents(self, documents: Iterable[str]) -> np.ndarray:
        """Token ids of several documents, one after the other, each with its own prefix."""
        parts = [self.encode(document) for document in documents]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens left out."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def stream(self) -> TextStream:
        """Turns tokens into text as they come."""
        return TextStream(self._tokenizer)


class TextStream:
    """Text of tokens that come one by one: a character is given out when all of its bytes are there."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers.decoders import DecodeStream
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """The text that this token completes, often "" in the middle of a character."""
        return self._stream.step(self._tokenizer, token) or ""
