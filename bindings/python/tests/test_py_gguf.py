"""GGUF from the command line, read by a few lines that know nothing of the library."""
import struct

import numpy as np
import pytest
from sample import LAYERS, MODULES, SAMPLE, VOCAB

import qz
from qz.mixes import MIXES, mix_rules

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 30: (1, 2)}  # ggml type -> elements, bytes


def read_gguf(path):
    """Keys and tensors (name -> dimensions, type, bytes) of a GGUF file, by ggml's docs/gguf.md."""
    data = path.read_bytes()
    at = 0

    def number(kind):
        nonlocal at
        value = struct.unpack_from("<" + kind, data, at)[0]
        at += struct.calcsize("<" + kind)
        return value

    def text():
        nonlocal at
        size = number("Q")
        at += size
        return data[at - size:at].decode()

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            inner, count = number("I"), number("Q")
            return [value(inner) for _ in range(count)]
        return number(NUMBERS[kind])

    assert data[:4] == b"GGUF"
    at = 4
    assert number("I") == 3
    tensors, count = number("Q"), number("Q")
    keys = {text(): value(number("I")) for _ in range(count)}
    found = []
    for _ in range(tensors):
        name = text()
        dims = [number("Q") for _ in range(number("I"))]
        found.append((name, dims, number("I"), number("Q")))
    start = -(-at // 32) * 32
    out = {}
    for name, dims, kind, offset in found:
        assert offset % 32 == 0
        elements, size = TYPES[kind]
        end = start + offset + int(np.prod(dims)) // elements * size
        assert end <= len(data)
        out[name] = (dims, kind, data[start + offset:end])
    return keys, out


def test_a_file_says_what_it_is(cli_json, tmp_path):
    out = tmp_path / "out"
    cli_json("quantize", SAMPLE, out, "--preset", "q8_0")
    keys, tensors = read_gguf(out / "model.gguf")
    assert keys["general.architecture"] == "llama" and keys["general.file_type"] == 7
    assert keys["llama.block_count"] == LAYERS and keys["llama.vocab_size"] == VOCAB
    assert len(keys["tokenizer.ggml.tokens"]) == VOCAB == len(keys["tokenizer.ggml.token_type"])
    assert sum(kind == 8 for _, kind, _ in tensors.values()) == MODULES
    model = qz.Model.open(SAMPLE)
    file = qz.Model.open(out / "model.gguf")
    assert file.info.format == "gguf" and file.info.arch == model.info.arch
    # The same layer by hand: rows of q are pairs of the two halves of a head.
    dims, kind, raw = tensors["blk.0.attn_q.weight"]
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, 34)
    w = (blocks[:, :2].copy().view(np.float16).astype(np.float32) * blocks[:, 2:].view(np.int8)).reshape(dims[1], dims[0])
    heads = model.info.heads
    w = w.reshape(heads, -1, 2, dims[0]).swapaxes(1, 2).reshape(w.shape)
    import test_py_codes
    source = test_py_codes.tensors(SAMPLE)["model.layers.0.self_attn.q_proj.weight"].astype(np.float32)
    assert np.abs(w - source).max() < np.abs(source).max() / 100


def test_it_runs_and_goes_back(cli_json, model, calibration, tmp_path):
    cli_json("quantize", SAMPLE, tmp_path / "q4_0", "--preset", "q4_0", "--calib", "self", "--samples", 8, "--length", 64)
    cli_json("convert", tmp_path / "q4_0" / "model.gguf", tmp_path / "w4", "--format", "compressed-tensors", "--allow-loss")
    cli_json("verify", tmp_path / "q4_0")
    text = qz.Calibration.generated(model, 4, 64, seed=9)
    plain, blocks = (qz.perplexity(m, text, window=64).perplexity for m in (model, qz.Model.open(tmp_path / "q4_0")))
    assert abs(blocks / plain - 1) < 0.2 and blocks != plain


def test_mixes_are_llama_cpps(model):
    """What llama-quantize chose for a model of four layers: every third between the first and last eighth, and the last eighth."""
    more = {name for name, code in mix_rules(model, "q4_k_m") if code in {"q6_k", "q8_0"}}
    layers = {int(name.split(".")[2]) for name in more}
    assert layers == {2, 3} and all("v_proj" in name or "down_proj" in name for name in more)
    assert mix_rules(model, "q4_0") == [] and set(MIXES) >= {"q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "iq4_xs", "q8_0"}


def test_a_scheme_that_is_no_block_is_refused(cli):
    status, _, err = cli("quantize", SAMPLE, "/nonexistent/x", "--format", "gguf", "--scheme", "w4g128", "--method", "rtn")
    assert status != 0 and "only block codes" in err




def test_an_imatrix_holds_the_mean_squares_of_the_inputs(cli_json, tmp_path):
    """Of the first layer's q by hand: the norm of the embeddings of the tokens."""
    import test_py_codes
    out = tmp_path / "imatrix.gguf"
    tokens = np.random.default_rng(3).integers(3, VOCAB, (8, 64)).astype(np.int32)
    np.save(tmp_path / "tokens.npy", tokens)
    cli_json("imatrix", SAMPLE, out, "--calib", "text", "--calib", tmp_path / "tokens.npy", "--samples", 8, "--length", 64)
    keys, tensors = read_gguf(out)
    assert keys["general.type"] == "imatrix" and keys["imatrix.chunk_count"] == 8 and keys["imatrix.chunk_size"] == 64
    assert len(tensors) == 2 * MODULES
    weights = test_py_codes.tensors(SAMPLE)
    x = weights["model.embed_tokens.weight"].astype(np.float64)[tokens.ravel()]
    x *= weights["model.layers.0.input_layernorm.weight"].astype(np.float64) / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-6)
    dims, kind, raw = tensors["blk.0.attn_q.weight.in_sum2"]
    assert dims == [x.shape[1], 1] and kind == 0
    np.testing.assert_allclose(np.frombuffer(raw, np.float32), np.sum(x * x, axis=0), rtol=2e-2)  # inputs are bfloat16 on some CPUs
    assert np.frombuffer(tensors["blk.0.attn_q.weight.counts"][2], np.float32) == tokens.size


def test_rounding_with_an_imatrix_saves_what_matters(cli_json, model, tmp_path):
    """Squared errors, each column's times its mean square, are smaller; unweighted they are larger."""
    import test_py_codes
    name = "blk.0.ffn_down.weight"
    qz.Calibration.generated(model, 32, 64, seed=5).write_imatrix(model, tmp_path / "imatrix.gguf")
    importance = np.frombuffer(read_gguf(tmp_path / "imatrix.gguf")[1][name + ".in_sum2"][2], np.float32).astype(np.float64)
    source = test_py_codes.tensors(SAMPLE)["model.layers.0.mlp.down_proj.weight"].astype(np.float64)
    weighted, plain = [], []
    for options in (["--imatrix", tmp_path / "imatrix.gguf"], []):
        cli_json("quantize", SAMPLE, tmp_path / "out", "--format", "gguf", "--scheme", "q4_0", "--method", "rtn", "--overwrite", *options)
        dims, kind, raw = read_gguf(tmp_path / "out" / "model.gguf")[1][name]
        blocks = np.frombuffer(raw, np.uint8).reshape(-1, 18)
        codes = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float64) - 8
        error = (blocks[:, :2].copy().view(np.float16).astype(np.float64) * codes).reshape(dims[1], dims[0]) - source
        weighted.append(np.sum(error**2 * importance))
        plain.append(np.sum(error**2))
    assert weighted[0] < weighted[1] and plain[0] > plain[1]


def test_the_older_imatrix_says_the_same(model, tmp_path):
    """int32 count; per entry name, calls, values = means times calls."""
    qz.Calibration.generated(model, 4, 64, seed=5).write_imatrix(model, tmp_path / "new.gguf")
    _, tensors = read_gguf(tmp_path / "new.gguf")
    names = [name[:-len(".in_sum2")] for name in tensors if name.endswith(".in_sum2")]
    data = struct.pack("<i", len(names))
    for name in names:
        sums = np.frombuffer(tensors[name + ".in_sum2"][2], np.float32)
        count = np.frombuffer(tensors[name + ".counts"][2], np.float32)[0]
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 4, len(sums)) + (sums / count * 4).tobytes()
    (tmp_path / "old.dat").write_bytes(data)
    made = []
    for file in ("new.gguf", "old.dat"):
        small = qz.Plan(model).add("*", "rtn", "q4_0").set_imatrix(tmp_path / file).run(format="gguf")
        made.append([r.weight_error for r in small.report])
    np.testing.assert_allclose(made[0], made[1], rtol=1e-3)
    plain = qz.Plan(model).add("*", "rtn", "q4_0").run(format="gguf")
    assert all(a != b.weight_error for a, b in zip(made[0], plain.report))
    for cut in (2, 40, len(data) - 8):
        (tmp_path / "cut.dat").write_bytes(data[:cut])
        with pytest.raises(qz.BadFile):
            qz.Plan(model).set_imatrix(tmp_path / "cut.dat")
