"""Models that see: calibration and logits from embeddings, and the example that makes them with transformers."""
import importlib.util

import numpy as np
import pytest
from sample import ROOT

import qz

GOLDEN = ROOT / "tests/data/goldens/models/internvl-qwen3"


def load(name):
    return np.load(GOLDEN / f"{name}.npy")


def test_embeddings_end_to_end(tmp_path):
    x, want = load("inputs_embeds"), load("logits_embeds")
    model = qz.Model.open(GOLDEN)
    assert model.info.arch == "internvl"
    session = qz.Session(model)
    assert np.abs(session.logits_of_embeddings(x[0]) - want[0]).max() < 1e-4
    session.reset()
    assert np.abs(session.logits_of_embeddings(x[1], last_only=True) - want[1][-1]).max() < 1e-4
    session.reset()
    assert np.abs(session.logits(load("tokens")[0]) - load("logits")[0]).max() < 1e-4
    calibration = qz.Calibration.generated(model, sequences=4, length=32)
    for sequence in x:
        calibration.add_embeddings(sequence)
    assert len(calibration) == 6 and calibration.tokens == 4 * 32 + 2 * 24
    with pytest.raises(qz.InvalidArgument):
        calibration[5]
    with pytest.raises(qz.Unsupported):
        calibration.save(tmp_path / "tokens")
    qz.gptq(model, calibration, scheme="w4g16", stream_to=tmp_path / "out")
    quantized = qz.Model.open(tmp_path / "out")
    roles = {m.name: (m.role == "other", m.quantized) for m in quantized.modules}
    assert roles["vision_tower.encoder.layer.0.mlp.fc1"] == (True, False)
    assert roles["language_model.model.layers.1.mlp.down_proj"] == (False, True)
    got = qz.Session(quantized).logits_of_embeddings(x[0])
    assert 1e-3 < np.abs(got - want[0]).max() < 2 and np.corrcoef(got.ravel(), want[0].ravel())[0, 1] > 0.95


def test_wrong_embeddings():
    calibration = qz.Calibration()
    with pytest.raises(qz.InvalidArgument):
        calibration.add_embeddings(np.zeros(3, np.float32))
    with pytest.raises(qz.Error):
        calibration.add_embeddings(np.full((2, 3), np.nan, np.float32))
    calibration.add_embeddings(np.zeros((8, 63), np.float32))
    with pytest.raises(qz.InvalidArgument, match="63"):
        qz.gptq(qz.Model.open(GOLDEN), calibration, scheme="w4g16")


def test_example_makes_the_embeddings_of_transformers():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("quantize_vision", ROOT / "examples/quantize_vision.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model = transformers.AutoModelForImageTextToText.from_pretrained(GOLDEN, dtype=torch.float32).eval()
    made = example.embeddings(model, input_ids=torch.from_numpy(load("tokens_image").astype(np.int64)),
                              pixel_values=torch.from_numpy(load("pixel_values")))
    assert np.abs(np.stack(made) - load("inputs_embeds")).max() < 1e-5
