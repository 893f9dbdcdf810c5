"""Codes other than GPTQ's integers: against NumPy texts of the papers, and through every format and back."""
import json
import struct

import numpy as np
import pytest
from sample import SAMPLE

import qz
from qz.presets import PRESETS

NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)
DTYPES = {"F32": np.float32, "F16": np.float16, "U8": np.uint8, "I8": np.int8, "I32": np.int32, "I64": np.int64}


def tensors(directory):
    """Name -> array; BF16 as float32."""
    found = {}
    for file in directory.glob("*.safetensors"):
        data = file.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        for name, t in json.loads(data[8:8 + size]).items():
            if name == "__metadata__":
                continue
            raw = data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]
            if t["dtype"] == "BF16":
                found[name] = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(t["shape"])
            elif t["dtype"] in DTYPES:
                found[name] = np.frombuffer(raw, DTYPES[t["dtype"]]).reshape(t["shape"])
    return found


@pytest.fixture(scope="module")
def weights():
    """The linear layers of the sample's blocks, in float32."""
    return {name[:-len(".weight")]: w.astype(np.float32) for name, w in tensors(SAMPLE).items() if "_proj.weight" in name}


def quantize(model, out, scheme, method, format):
    plan = qz.Plan.from_json(model, {"rules": [{"glob": "*", "method": method, "scheme": scheme}]})
    return plan.run(format=format, stream_to=out)


def test_nf4_is_the_nearest_value_of_the_table(model, weights, tmp_path):
    quantize(model, tmp_path / "q", "nf4", "rtn", "bitsandbytes").close()
    stored = tensors(tmp_path / "q")
    for name, w in weights.items():
        blocks = w.reshape(-1, 64)
        absmax = np.abs(blocks).max(1)
        assert np.array_equal(stored[f"{name}.weight.absmax"], absmax)
        assert np.array_equal(stored[f"{name}.weight.quant_map"], NF4)
        packed = stored[f"{name}.weight"].ravel()
        codes = np.stack([packed >> 4, packed & 15], 1).reshape(blocks.shape)
        error = np.abs(NF4[codes] - blocks / absmax[:, None])
        best = np.abs(NF4[None, None, :] - (blocks / absmax[:, None])[..., None]).min(-1)
        assert np.all(error <= best + 1e-6)


def test_double_quantization_keeps_its_parts(model, weights, tmp_path):
    quantize(model, tmp_path / "q", "nf4-dq", "rtn", "bitsandbytes").close()
    stored = tensors(tmp_path / "q")
    for name, w in weights.items():
        absmax = np.abs(w.reshape(-1, 64)).max(1)
        state = json.loads(bytes(stored[f"{name}.weight.quant_state.bitsandbytes__nf4"]))
        codes, scale, table = (stored[f"{name}.weight.{part}"] for part in ("absmax", "nested_absmax", "nested_quant_map"))
        found = table[codes] * np.repeat(scale, 256)[:len(codes)] + np.float32(state["nested_offset"])
        assert state["shape"] == list(w.shape) and state["nested_blocksize"] == 256
        assert np.abs(found - absmax).max() <= 0.01 * np.abs(absmax - absmax.mean()).max() + 1e-7


def test_llm_int8_is_rows_in_parts_of_127(model, weights, tmp_path):
    quantize(model, tmp_path / "q", "llm-int8", "rtn", "bitsandbytes").close()
    stored = tensors(tmp_path / "q")
    for name, w in weights.items():
        absmax = np.abs(w).max(1)
        assert np.array_equal(stored[f"{name}.SCB"], absmax)
        codes = np.rint(w * (np.float32(127) / absmax)[:, None])
        assert np.array_equal(stored[f"{name}.weight"], codes.astype(np.int8))


def hqq_text(w, bits, group, norm=0.7, beta=10.0, growth=1.01, steps=20):
    """The half-quadratic solver of the HQQ article; one group a row."""
    w, most = w.reshape(-1, group).astype(np.float64), 2 ** bits - 1
    low, span = w.min(1, keepdims=True), np.ptp(w, 1, keepdims=True)
    scale = np.where(span <= 1e-4, 1.0, np.minimum(most / np.maximum(span, 1e-12), 2e4))
    zero = -low * scale
    zero = np.rint(zero) if bits == 4 else zero
    best = np.inf
    for _ in range(steps):
        codes = np.clip(np.rint(w * scale + zero), 0, most)
        error = w - (codes - zero) / scale
        size = np.abs(error)
        shrunk = np.sign(error) * np.maximum(size - np.where(size > 0, size, 1) ** (norm - 1) / beta, 0)
        zero = np.mean(codes - (w - shrunk) * scale, 1, keepdims=True)
        beta *= growth
        if size.mean() >= best:
            break
        best = size.mean()
    codes = np.clip(np.rint(w * scale + zero), 0, most)
    return ((codes - zero) / scale - w) ** 2


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_hqq_is_never_worse_than_its_article(model, weights, tmp_path, bits):
    """The same solver, and smaller scales beside it: the squared error of a layer may only fall."""
    quantize(model, tmp_path / "q", f"w{bits}g64f", "hqq", "hqq").close()
    stored = tensors(tmp_path / "q")
    for name, w in weights.items():
        packed = stored[f"{name}.W_q"]
        codes = np.concatenate([packed >> shift & (2 ** bits - 1) for shift in range(8 - bits, -1, -bits)]).reshape(-1, 64)
        scale, zero = (stored[f"{name}.{part}"].astype(np.float32) for part in ("scale", "zero"))
        ours = ((codes - zero) * scale - w.reshape(-1, 64)) ** 2
        assert ours.sum() <= hqq_text(w, bits, 64).sum() * (1.25 if bits == 8 else 1.0)  # bfloat16 holds 8 bits of a zero point


@pytest.mark.parametrize("name", [name for name, p in PRESETS.items() if not p.data])
def test_every_preset_without_data_comes_back(model, tmp_path, name):
    preset, ids = PRESETS[name], np.arange(3, 40, dtype=np.int32)
    with quantize(model, tmp_path / "q", preset.scheme, preset.method, preset.format) as made:
        assert made.info.format == preset.format and made.verify(tmp_path / "q").ok
        made.save(tmp_path / "again")
        with qz.Model.open(tmp_path / "again") as again, qz.Session(made) as a, qz.Session(again) as b:
            assert np.array_equal(a.logits(ids), b.logits(ids))
        first, second = tensors(tmp_path / "q"), tensors(tmp_path / "again")
        assert first.keys() == second.keys() and all(np.array_equal(first[t], second[t]) for t in first)


@pytest.mark.parametrize("scheme, way", [("w4g64", ["gptq", "awq", "compressed-tensors", "hqq", "gptq_v2", "gptq"]),
                                         ("w4g64a", ["gptq_v2", "awq", "hqq", "compressed-tensors", "gptq_v2"]),
                                         ("w8g128", ["gptq", "hqq", "compressed-tensors", "gptq"])])
def test_exact_conversions_go_round_and_come_back(model, tmp_path, scheme, way):
    ids = np.arange(3, 40, dtype=np.int32)
    plan = qz.Plan.from_json(model, {"rules": [{"glob": "*", "method": "rtn", "scheme": scheme}]})
    here = plan.run(format=way[0], stream_to=tmp_path / "0")
    first = tensors(tmp_path / "0")
    for i, format in enumerate(way[1:], 1):
        assert here.save_losses(format) == {} or format == "hqq"  # bfloat16 may be too short for a zero point or a scale
        here.save(tmp_path / str(i), format=format, allow_loss=format == "hqq")
        there = qz.Model.open(tmp_path / str(i))
        if not (lost := here.save_losses(format)):
            with qz.Session(here) as a, qz.Session(there) as b:
                # Zero points as integers and as floats are summed in another order; verify compares what is decoded exactly.
                assert np.allclose(a.logits(ids), b.logits(ids), rtol=1e-5, atol=1e-5)
            assert here.verify(tmp_path / str(i)).ok
        else:
            pytest.skip(f"{format} is not exact here: {next(iter(lost.values()))}")
        here.close()
        here = there
    last = tensors(tmp_path / str(len(way) - 1))
    assert first.keys() == last.keys() and all(np.array_equal(first[t], last[t]) for t in first)


def test_loss_needs_leave(model, tmp_path):
    plan = qz.Plan.from_json(model, {"rules": [{"glob": "*", "method": "rtn", "scheme": "w3g64"}]})
    with plan.run() as made:
        with pytest.raises(qz.Unsupported, match="awq cannot store this model"):
            made.save(tmp_path / "no", format="awq")
        assert "rounded to nearest anew" in next(iter(made.save_losses("awq").values()))
        made.save(tmp_path / "yes", format="awq", allow_loss=True)
        assert qz.Model.open(tmp_path / "yes").info.format == "awq"


def test_presets_are_listed_and_taken(cli_json, tmp_path):
    listed = cli_json("presets")["presets"]
    assert [p["name"] for p in listed] == list(PRESETS)
    made = cli_json("quantize", SAMPLE, tmp_path / "nf4", "--preset", "nf4-dq")
    assert made["format"] == "bitsandbytes" and made["calibration"] is None
    assert made["bits_per_weight"] == pytest.approx(PRESETS["nf4-dq"].bits, abs=1)  # the tables weigh more in small matrices
