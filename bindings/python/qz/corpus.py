"""Files that a user calibrates or evaluates with: plain text, JSON lines, token arrays. And cutting them into samples."""
from __future__ import annotations

import json
import math
import os
import pathlib
from typing import Iterable, Sequence

from ._numpy import np
from .errors import BadFile, InvalidArgument, IoError, Unsupported
from .tensor import token_array
from .text import Tokenizer

Path = os.PathLike[str] | str

_LEAST_CHARACTERS = 4_000_000  # of a text that are tokenized, if it has so many; 16 for each token that is wanted if that is more


def read_documents(path: Path) -> list[str]:
    """The texts of a file: one of a .txt (or anything else), one a line of .jsonl with a "text" field. UTF-8."""
    file = pathlib.Path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise IoError(f"{file}: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise BadFile(f"{file}: not UTF-8 text: byte {problem.object[problem.start]:#04x} at offset {problem.start}") from None
    if "\0" in text:
        raise BadFile(f"{file}: a zero byte at offset {text.index(chr(0))}: this is not text")
    if file.suffix.lower() not in {".jsonl", ".ndjson"}:
        return [text]
    return [_json_line(file, i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]


def _json_line(file: pathlib.Path, number: int, line: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise BadFile(f"{file}:{number}: not JSON: {problem}") from None
    if isinstance(record, dict) and isinstance(record.get("text"), str):
        return record["text"]
    if isinstance(record, dict) and "messages" in record:
        raise Unsupported(f'{file}:{number}: chat records ("messages") need the model\'s chat template, which qz does not run: render '
                          'them to text first and give a "text" field')
    raise BadFile(f'{file}:{number}: expected an object with a text field, {{"text": "..."}}')


def read_token_file(path: Path) -> list[np.ndarray]:
    """The token sequences of a .npy file of whole numbers: one of [tokens], many of [sequences, tokens]."""
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except OSError as problem:
        raise IoError(f"{path}: {problem.strerror or problem}") from None
    except (ValueError, EOFError) as problem:
        raise BadFile(f"{path}: not a NumPy array file: {problem}") from None
    if not isinstance(array, np.ndarray) or array.ndim not in {1, 2} or array.size == 0:
        raise BadFile(f"{path}: expected token ids of shape [tokens] or [sequences, tokens], "
                      f"found {list(getattr(array, 'shape', []))}")
    try:
        return [token_array(row) for row in (array if array.ndim == 2 else array[np.newaxis])]
    except InvalidArgument as problem:
        raise BadFile(f"{path}: {problem}") from None


def is_token_file(path: Path) -> bool:
    return pathlib.Path(path).suffix.lower() == ".npy"


def cut(ids: np.ndarray, length: int, samples: int, prefix: Sequence[int] = ()) -> list[np.ndarray]:
    """At most `samples` sequences of `length` tokens: contiguous, apart, spread evenly over ids; each starts with prefix."""
    body = length - len(prefix)
    if body < 1:
        raise InvalidArgument(f"a sample of {length} tokens has no room after {len(prefix)} beginning-of-text tokens")
    windows = len(ids) // body
    taken = min(samples, windows)
    starts = [i * windows // taken * body for i in range(taken)]
    head = np.asarray(prefix, np.int32)
    return [np.concatenate([head, ids[start:start + body]]) for start in starts]


def thin(documents: list[str], characters: int, pieces: int) -> list[str]:
    """documents as they are if they have no more than `characters`, else as many, in pieces that begin at the start of a line or a
    word and are spread evenly: of a text of many gigabytes, calibration needs a few megabytes from everywhere."""
    total = sum(map(len, documents))
    if total <= characters:
        return documents
    pieces = max(pieces, characters * len(documents) // total)  # of short documents, more
    every, size, chosen, offset = total / pieces, characters // pieces, [], 0
    for document in documents:
        first, last = math.ceil(offset / every), math.ceil((offset + len(document)) / every)
        for at in (int(i * every) - offset for i in range(first, last)):
            start = _start(document, at)
            chosen.append(document[start:start + size])
        offset += len(document)
    return chosen


def _start(document: str, at: int) -> int:
    """The first start of a line, or else of a word, from `at` on."""
    found = [document.find(end, at - 1, at + 1000) + 1 for end in "\n "] if at > 0 else [0]
    return next((position for position in found if position > 0), at)


def samples_of(paths: Iterable[Path], tokenizer: Tokenizer | None, length: int, samples: int) -> list[np.ndarray]:
    """At most `samples` calibration sequences from files: texts are joined, tokenized and cut; a 2-D token file is taken row by
    row. tokenizer is needed for text. InvalidArgument if there is not even one sample, with tokens found and needed."""
    ready: list[np.ndarray] = []
    streams: list[np.ndarray] = []
    texts: list[str] = []
    for path in paths:
        if is_token_file(path):
            rows = read_token_file(path)
            (ready if len(rows) > 1 else streams).extend(rows)
        else:
            texts.extend(read_documents(path))
    prefix: tuple[int, ...] = ()
    if texts:
        if tokenizer is None:
            raise InvalidArgument("text needs a tokenizer")
        streams.append(tokenizer.encode_documents(thin(texts, max(_LEAST_CHARACTERS, 16 * samples * length), 2 * samples)))
        prefix = tokenizer.prefix
    found = sum(map(len, streams))
    if streams:
        ready += cut(_without_prefix(np.concatenate(streams), prefix), length, samples, prefix)
    if not ready:
        raise InvalidArgument(f"the text has {found} tokens: one sample of {length} needs {length}, {samples} samples need "
                              f"{samples * length}; give more text or shorter samples")
    keep = min(samples, len(ready))
    return [ready[i * len(ready) // keep] for i in range(keep)]


def _without_prefix(ids: np.ndarray, prefix: Sequence[int]) -> np.ndarray:
    """Each sample gets the prefix of its own: the one at the very beginning would be a second."""
    return ids[len(prefix):] if prefix and tuple(ids[:len(prefix)]) == tuple(prefix) else ids


def evaluation_tokens(paths: Iterable[Path], tokenizer: Tokenizer | None, limit: int | None = None) -> list[np.ndarray]:
    """Sequences to evaluate on: all texts joined and tokenized once are one sequence; each row of a token file is one.
    limit: of all tokens, the first so many. InvalidArgument if there are none."""
    texts: list[str] = []
    sequences: list[np.ndarray] = []
    for path in paths:
        if is_token_file(path):
            sequences.extend(read_token_file(path))
        else:
            texts.extend(read_documents(path))
    if texts:
        if tokenizer is None:
            raise InvalidArgument("text needs a tokenizer")
        sequences.insert(0, _beginning("".join(texts), tokenizer, limit))
    kept, left = [], sum(map(len, sequences)) if limit is None else limit
    for sequence in sequences:
        if left > 0 and len(sequence):
            kept.append(sequence[:left])
            left -= len(kept[-1])
    if not kept:
        raise InvalidArgument("the text has no tokens")
    return kept


def _beginning(text: str, tokenizer: Tokenizer, limit: int | None) -> np.ndarray:
    """The tokens of a text, or the first `limit` without tokenizing all of a long text: the last token of a part may differ from
    what the whole text gives, so a part must yield more than `limit`."""
    characters = len(text) if limit is None else 16 * limit + 1000
    while True:
        ids = tokenizer.encode(text[:characters])
        if characters >= len(text) or (limit is not None and len(ids) > limit + 100):
            return ids[:limit]
        characters *= 2
