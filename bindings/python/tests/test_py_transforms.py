"""AWQ and SmoothQuant against NumPy texts of the papers, on the first layer of the sample."""
import numpy as np
import pytest
from sample import SAMPLE, VOCAB
from test_py_codes import tensors

import qz

GROUP = 64
LAYER = "model.layers.0."


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(5).integers(3, VOCAB, (6, 64), dtype=np.int32)


def attention(x, weights, heads=4, theta=10000.0):
    """Causal attention with rotary positions of [sequences, tokens, hidden]."""
    q, k, v = (x @ weights[name].T for name in "qkv")
    n, t, hidden = q.shape
    dim = hidden // heads
    angle = np.arange(t)[:, None] / theta ** (np.arange(0, dim, 2) / dim)
    cos, sin = (np.concatenate([f(angle)] * 2, 1)[:, None] for f in (np.cos, np.sin))
    q, k, v = (m.reshape(n, t, heads, dim) for m in (q, k, v))
    turn = lambda m: m * cos + np.concatenate([-m[..., dim // 2:], m[..., :dim // 2]], -1) * sin
    scores = np.einsum("nihd,njhd->nhij", turn(q), turn(k)) / np.sqrt(dim)
    scores = np.where(np.tril(np.ones((t, t), bool)), scores, -np.inf)
    share = np.exp(scores - scores.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return np.einsum("nhij,njhd->nihd", share, v).reshape(n, t, hidden) @ weights["o"].T


def rounded(w):
    """Round to nearest: symmetric, 4 bit, max|w| at 7.5; scales in bfloat16."""
    groups = w.astype(np.float32).reshape(-1, GROUP)
    scale = np.abs(groups).max(1, keepdims=True) / np.float32(7.5)
    bits = scale.view(np.uint32)
    scale = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)
    return (np.clip(np.rint(groups / scale) + 8, 0, 15) - 8).reshape(w.shape) * np.repeat(scale, GROUP, 1).reshape(w.shape)


def first_input(stored, tokens):
    r = stored["model.embed_tokens.weight"].astype(np.float64)[tokens]
    return r / np.sqrt((r * r).mean(-1, keepdims=True) + 1e-6) * stored[LAYER + "input_layernorm.weight"].astype(np.float64)


def awq_text(x, weights):
    """The scales of q, k and v: for each ratio the candidate, for each candidate the attention's squared error."""
    a = np.abs(x).mean((0, 1))
    w = np.concatenate([weights[n] for n in "qkv"])
    relative = np.abs(w).reshape(len(w), -1, GROUP)
    w_mean = (relative / (relative.max(2, keepdims=True) + 1e-6)).reshape(w.shape).mean(0)
    candidates = [np.ones_like(a)]
    for ratio in np.arange(20) / 20:
        s = np.maximum(a ** ratio / (w_mean ** (1 - ratio) + 1e-4), 1e-4)
        candidates.append(s / np.sqrt(s.max() * s.min()))
    want, errors = attention(x, weights), []
    for s in candidates:
        trial = {**weights, **{n: rounded(weights[n] * s) for n in "qkv"}}
        errors.append(((attention(x / s, trial) - want) ** 2).sum())
    return candidates, np.array(errors)


def found_scales(before, after):
    return before[LAYER + "input_layernorm.weight"].astype(np.float64) / after[LAYER + "input_layernorm.weight"].astype(np.float64)


@pytest.fixture(scope="module")
def first_layer():
    stored = tensors(SAMPLE)
    return stored, {n: stored[f"{LAYER}self_attn.{n}_proj.weight"].astype(np.float64) for n in "qkvo"}


def test_awq_finds_the_scales_of_its_paper(model, tokens, first_layer, tmp_path):
    stored, weights = first_layer
    qz.awq(model, qz.Calibration.from_tokens(tokens), scheme=f"w4g{GROUP}", stream_to=tmp_path / "q").close()
    candidates, errors = awq_text(first_input(stored, tokens), weights)
    found = found_scales(stored, tensors(tmp_path / "q"))
    distance = [np.abs(np.log(found / s)).max() for s in candidates]
    chosen = int(np.argmin(distance))
    assert distance[chosen] < 2 ** -8 + 1e-3  # the norm's bfloat16
    assert errors[chosen] <= errors.min() * 1.02  # float32 products may order two near candidates otherwise
    assert errors.min() < 0.9 * errors[0]


@pytest.mark.parametrize("alpha", [0.5, 0.85])
def test_smoothquant_is_equation_four(model, tokens, first_layer, tmp_path, alpha):
    stored, weights = first_layer
    qz.smoothquant(model, qz.Calibration.from_tokens(tokens), alpha=alpha, stream_to=tmp_path / "q").close()
    most = np.abs(first_input(stored, tokens)).max((0, 1))
    w = np.abs(np.concatenate([weights[n] for n in "qkv"])).max(0)
    s = np.maximum(most ** alpha / w ** (1 - alpha), 1e-5)
    assert np.abs(np.log(found_scales(stored, tensors(tmp_path / "q")) / s)).max() < 2 ** -8 + 1e-3


def test_the_report_and_the_command_line_know_transforms(model, tokens, cli_json, tmp_path):
    with qz.smoothquant(model, qz.Calibration.from_tokens(tokens)) as made:
        assert {r.transform for r in made.report} == {"smoothquant"}
    np.save(tmp_path / "t.npy", tokens)
    words = ["quantize", SAMPLE, tmp_path / "awq", "--preset", "awq-w4", "--calib", tmp_path / "t.npy", "--length", 64]
    assert cli_json(*words)["format"] == "awq"
    assert cli_json("verify", tmp_path / "awq", "--against", SAMPLE)["ok"]


def test_a_budget_is_kept_and_beats_the_uniform_scheme(model, calibration, tmp_path):
    text = qz.Calibration.generated(model, sequences=8, length=128, seed=9)
    with qz.Plan(model) as plan:
        plan.add("*", "gptq", "w3g128", qz.GptqOptions(drift=0.0, residual=0.0, sweeps=0))
        uniform = qz.perplexity(plan.run(calibration), text, model, window=128).kl_to_reference
        plan.set_budget(calibration, 3.125)
        mixed = plan.run(calibration, stream_to=tmp_path / "q")
        weights = {m.name: m.rows * m.cols for m in model.modules}
        bits = 8 * sum(r.bytes_after for r in mixed.report) / sum(weights[r.name] for r in mixed.report)
        assert 3.0 < bits <= 3.13 and len({(r.bits, r.group) for r in mixed.report}) > 1
        assert qz.perplexity(mixed, text, model, window=128).kl_to_reference < uniform
        with pytest.raises(qz.InvalidArgument, match="below the 2"):
            plan.set_budget(calibration, 1.5)
        with pytest.raises(qz.Unsupported):
            plan.set_budget(calibration, 4, format="awq")


def test_compare_shows_two_models(quantized, tokens, cli, cli_json, tmp_path):
    np.save(tmp_path / "t.npy", tokens)
    words = ["compare", SAMPLE, quantized, "--tokens", tmp_path / "t.npy", "--window", 64]
    found = cli_json(*words)
    assert found["a"]["kl_to_reference"] is None and found["b"]["kl_to_reference"] > 0
    assert found["b"]["bytes"] < found["a"]["bytes"] and found["a"]["token_hash"] == found["b"]["token_hash"]
    same = cli_json(*words[:2], SAMPLE, *words[3:], "--reference", SAMPLE)
    assert same["a"]["kl_to_reference"] < 1e-9 and same["b"]["top1_agreement"] == 1
    status, out, _ = cli(*words)
    assert status == 0 and "KL to reference" in out
