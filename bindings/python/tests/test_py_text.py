"""Text, files and samples."""
import json
import re

import numpy as np
import pytest
from sample import SAMPLE

import qz
from qz import corpus
from qz.text import Tokenizer


@pytest.fixture
def tokenizer():
    return Tokenizer(SAMPLE)


@pytest.fixture
def with_bos(tmp_path):
    """The sample's tokenizer with a post-processor that puts <s> (0) before every text, and a truncation that must not count."""
    config = json.loads((SAMPLE / "tokenizer.json").read_text())
    config["post_processor"] = {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}}
    config["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(config))
    return Tokenizer(tmp_path)


def test_no_prefix_where_the_tokenizer_adds_none(tokenizer):
    assert tokenizer.prefix == ()
    assert tokenizer.decode(tokenizer.encode("A café, a naïve 文.")) == "A café, a naïve 文."


def test_prefix_once(with_bos):
    assert with_bos.prefix == (0,)
    assert with_bos.encode("Hello").tolist()[0] == 0 and with_bos.encode("Hello").tolist().count(0) == 1
    assert with_bos.encode("<s>Hello").tolist() == with_bos.encode("Hello").tolist()
    assert 0 not in with_bos.encode("Hello", prefix=False)


def test_truncation_of_the_file_is_off(with_bos):
    assert len(with_bos.encode("a long text that has many more tokens than four")) > 8


def test_stream_gives_whole_characters(tokenizer):
    text = "ein Bär, 文字 und ein 🦊"
    stream = tokenizer.stream()
    pieces = [stream.push(int(token)) for token in tokenizer.encode(text)]
    assert "".join(pieces) == text and not any("\ufffd" in piece for piece in pieces)


def test_no_tokenizer(tmp_path):
    with pytest.raises(qz.IoError, match="tokenizer.json: no such file"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(qz.BadFile, match="tokenizer.json"):
        Tokenizer(tmp_path)


def test_cut_is_contiguous_and_spread():
    ids = np.arange(100, dtype=np.int32)
    pieces = corpus.cut(ids, length=10, samples=4)
    assert [p.tolist() for p in pieces] == [list(range(s, s + 10)) for s in (0, 20, 50, 70)]
    assert len(corpus.cut(ids, length=30, samples=4)) == 3
    assert corpus.cut(ids, length=101, samples=1) == []
    assert corpus.cut(ids, length=5, samples=1, prefix=(7,))[0].tolist() == [7, 0, 1, 2, 3]


def test_samples_of_text_begin_with_the_prefix_once(with_bos, tmp_path):
    (tmp_path / "a.txt").write_text("one two three four " * 50)
    for sample in corpus.samples_of([tmp_path / "a.txt"], with_bos, 16, 5):
        assert len(sample) == 16 and sample.tolist().count(0) == 1 and sample[0] == 0


def test_jsonl(tmp_path, tokenizer):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "first\\u2028still first"}\n\n{"text": "second", "id": 2}\n', encoding="utf-8")
    assert corpus.read_documents(file) == ["first\u2028still first", "second"]


@pytest.mark.parametrize("line, kind, words", [
    ("{", qz.BadFile, "a.jsonl:2: not JSON"), ('["text"]', qz.BadFile, 'a.jsonl:2: expected an object'),
    ('{"messages": []}', qz.Unsupported, "chat template"), ('{"text": 3}', qz.BadFile, "a.jsonl:2")])
def test_bad_jsonl_names_the_line(tmp_path, line, kind, words):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n' + line)
    with pytest.raises(kind, match=words):
        corpus.read_documents(tmp_path / "a.jsonl")


def test_bad_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    with pytest.raises(qz.BadFile, match="0xff at offset 3"):
        corpus.read_documents(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"ab\0c")
    with pytest.raises(qz.BadFile, match="zero byte at offset 2"):
        corpus.read_documents(tmp_path / "a.txt")
    with pytest.raises(qz.IoError, match="b.txt"):
        corpus.read_documents(tmp_path / "b.txt")


def test_token_files(tmp_path):
    file = tmp_path / "a.npy"
    np.save(file, np.arange(6, dtype=np.int64).reshape(2, 3))
    assert [row.tolist() for row in corpus.read_token_file(file)] == [[0, 1, 2], [3, 4, 5]]
    for bad in (np.zeros(3), np.zeros((1, 1, 1), np.int32), np.array([], np.int32), np.array([-1]), np.array([{}], object)):
        np.save(file, bad, allow_pickle=True)
        with pytest.raises(qz.BadFile, match="a.npy"):
            corpus.read_token_file(file)
    file.write_bytes(b"nonsense")
    with pytest.raises(qz.BadFile, match="a.npy"):
        corpus.read_token_file(file)


def test_too_short_a_text_says_how_much_there_is(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("word " * 20)
    with pytest.raises(qz.InvalidArgument, match=r"has \d+ tokens: one sample of 512 needs 512, 8 samples need 4096"):
        corpus.samples_of([tmp_path / "a.txt"], tokenizer, 512, 8)


def test_a_huge_text_is_thinned_evenly():
    lines = "".join(f"line {i:06d}\n" for i in range(20_000))  # 240,000 characters
    assert corpus.thin([lines], 300_000, 10) == [lines]
    for documents, pieces in [([lines], 10), (lines.splitlines(keepends=True), 2000), ([lines[:70_001], lines[70_001:]], 10)]:
        chosen = corpus.thin(documents, 24_000, 10)
        starts = [int(re.match(r"line (\d{6})", piece)[1]) for piece in chosen]
        assert len(starts) == pieces and 20_000 < sum(map(len, chosen)) <= 24_000
        assert all(abs(start - 20_000 / pieces * i) <= 2 for i, start in enumerate(starts)), starts


def test_the_beginning_of_a_text_is_that_of_the_whole(tokenizer, prose):
    whole = corpus.evaluation_tokens([prose], tokenizer)[0]
    for limit in (1, 100, 3000):
        part, = corpus.evaluation_tokens([prose], tokenizer, limit)
        assert np.array_equal(part, whole[:limit])
    assert len(corpus.evaluation_tokens([prose], tokenizer, 10**9)[0]) == len(whole)


def test_evaluation_tokens_of_files(tmp_path, tokenizer):
    np.save(tmp_path / "a.npy", np.arange(10).reshape(2, 5))
    assert [ids.tolist() for ids in corpus.evaluation_tokens([tmp_path / "a.npy"], None, 7)] == [[0, 1, 2, 3, 4], [5, 6]]
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(qz.InvalidArgument, match="no tokens"):
        corpus.evaluation_tokens([tmp_path / "empty.txt"], tokenizer)
