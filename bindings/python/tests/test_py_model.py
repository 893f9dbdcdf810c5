"""The whole way in Python: open, calibrate, quantize, evaluate, generate, convert, verify."""
import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from sample import EOS, LAYERS, MODULES, SAMPLE, VOCAB

import qz


@pytest.fixture(scope="module")
def small(quantized):
    with qz.Model.open(quantized) as opened:
        yield opened


@pytest.fixture(scope="module")
def heldout(model):
    return qz.Calibration.generated(model, sequences=8, length=128, seed=99)


def test_info(model):
    config = json.loads((SAMPLE / "config.json").read_text())
    info = model.info
    assert (info.arch, info.format, info.dtype, info.tied) == ("llama", "plain", "bf16", True)
    assert (info.layers, info.hidden, info.heads, info.kv_heads, info.head_dim, info.intermediate, info.vocab, info.max_seq) == tuple(
        config[key] for key in ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim",
                                "intermediate_size", "vocab_size", "max_position_embeddings"))


def test_modules(model):
    modules = model.modules
    assert [m.role for m in modules[:7]] == ["q", "k", "v", "o", "gate", "up", "down"]
    assert sum(m.can_quantize for m in modules) == MODULES
    assert (modules[6].name, modules[6].rows, modules[6].cols) == ("model.layers.0.mlp.down_proj", 128, 384)
    assert not any(m.quantized for m in modules)


def test_generated_text_depends_on_the_seed_alone(model):
    with qz.Context(threads=2) as other, qz.Model.open(SAMPLE, context=other) as again:
        a = qz.Calibration.generated(model, 4, 64, seed=5)
        b = qz.Calibration.generated(again, 4, 64, seed=5)
        c = qz.Calibration.generated(model, 4, 64, seed=6)
    assert len(a) == 4 and a.tokens == 256
    assert all(np.array_equal(x, y) for x, y in zip(a, b))
    assert not all(np.array_equal(x, y) for x, y in zip(a, c))


def test_calibration_holds_what_was_added(tmp_path):
    rows = [[1, 2, 3], np.array([4, 5], np.int64), np.arange(10, dtype=np.int32)[::3]]
    calibration = qz.Calibration.from_tokens(rows)
    assert [ids.tolist() for ids in calibration] == [[1, 2, 3], [4, 5], [0, 3, 6, 9]]
    assert calibration[-1].tolist() == [0, 3, 6, 9] and calibration.tokens == 9
    with pytest.raises(IndexError):
        calibration[3]
    calibration.save(tmp_path / "c")
    assert [ids.tolist() for ids in qz.Calibration.load(tmp_path / "c")] == [ids.tolist() for ids in calibration]
    damaged = bytearray((tmp_path / "c").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "c").write_bytes(damaged)
    with pytest.raises(qz.BadFile):
        qz.Calibration.load(tmp_path / "c")


def test_mix_is_half_and_half(model, prose):
    mixed = qz.Calibration.for_model(model, [prose], samples=6, length=32)
    of_user = qz.Calibration.from_files(model, [prose], samples=3, length=32)
    of_model = qz.Calibration.generated(model, 3, 32)
    assert [ids.tolist() for ids in mixed] == [ids.tolist() for ids in [*of_user, *of_model]]
    for mode, files in [("self", [prose]), ("mix", []), ("text", []), ("other", [prose])]:
        with pytest.raises(qz.InvalidArgument):
            qz.Calibration.for_model(model, files, mode, 4, 32)


def test_mix_with_token_rows_is_half_of_the_tokens_too(model, tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).integers(3, VOCAB, (8, 48)))
    mixed = qz.Calibration.for_model(model, [tmp_path / "rows.npy"], samples=6)
    assert [len(ids) for ids in mixed] == [48] * 6
    assert [ids.tolist() for ids in mixed][3:] == [ids.tolist() for ids in qz.Calibration.generated(model, 3, 48)]


def test_short_text_is_a_warning_and_the_model_fills_up(model, tmp_path, caplog):
    (tmp_path / "short.txt").write_text("A few words that fill one sample of eight tokens, or two.")
    mixed = qz.Calibration.for_model(model, [tmp_path / "short.txt"], samples=16, length=8)
    assert len(mixed) == 16
    assert "not the 8 asked for" in caplog.text


def test_a_token_outside_the_vocabulary_is_named(model):
    with pytest.raises(qz.InvalidArgument, match="2048"):
        qz.perplexity(model, qz.Calibration.from_tokens([[1, 2, VOCAB] * 40]), window=64)


def test_quantized_directory_opens(small):
    modules = small.modules
    assert small.info.format == "compressed-tensors"
    assert {(m.bits, m.group) for m in modules if m.quantized} == {(4, 128)}
    assert sum(m.quantized for m in modules) == MODULES
    assert small.info.parameters == qz.Model.open(SAMPLE).info.parameters


def test_report(small):
    report = small.report
    assert len(report) == MODULES and {r.method for r in report} == {"gptq"} and not any(r.fell_back for r in report)
    for r in report:
        assert 0 < r.output_error < r.rtn_output_error, f"{r.name} is worse than rounding to nearest"
        assert r.bytes_after < r.bytes_before / 3
    assert small.report_json()["modules"][0]["name"] == report[0].name
    with pytest.raises(qz.Unsupported):
        qz.Model.open(SAMPLE).report_json()


def test_gptq_is_closer_than_rounding(model, small, heldout):
    rounded = qz.rtn(model, "w4g128")
    same = qz.perplexity(model, heldout, model)
    near, far = qz.perplexity(small, heldout, model), qz.perplexity(rounded, heldout, model)
    assert same.kl_to_reference == 0 and same.top1_agreement == 1
    assert 0 < near.kl_to_reference < 0.6 * far.kl_to_reference
    assert near.tokens == 8 * 127 and near.token_hash == far.token_hash
    assert qz.perplexity(model, heldout).kl_to_reference is None


def test_perplexity_is_that_of_the_logits(model, heldout):
    """Against NumPy, from the logits of a session."""
    ids = heldout[0]
    with qz.Session(model) as session:
        logits = session.logits(ids).astype(np.float64)
    logp = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    expected = np.exp(-np.mean(logp[np.arange(len(ids) - 1), ids[1:]]))
    measured = qz.perplexity(model, qz.Calibration.from_tokens([ids]), window=len(ids))
    assert measured.perplexity == pytest.approx(expected, rel=1e-4)
    assert measured.protocol == f"window-{len(ids)}"


def test_session_feeds_in_pieces(model):
    ids = [5, 900, 17, 1200, 33]
    with qz.Session(model, max_seq=8) as session:
        whole = session.logits(ids)
        session.reset()
        session.feed(ids[:3])
        pieces = session.logits(ids[3:])
        assert whole.shape == (5, VOCAB)
        assert np.allclose(whole[3:], pieces, atol=1e-4)
        session.reset()
        assert np.array_equal(session.logits(ids, last_only=True), whole[-1:])
        with pytest.raises(qz.InvalidArgument):
            session.logits([1, 2, 3, 4])  # 5 + 4 > 8 positions


def test_products_are_as_exact_as_asked(model, small, heldout):
    """Rounded inputs are further from the original, and never without being asked for."""
    exact, bf16, int8 = (qz.perplexity(small, heldout, model, products=kind) for kind in ("exact", "bf16", "int8"))
    assert exact == replace(qz.perplexity(small, heldout, model), tokens_per_s=exact.tokens_per_s)
    assert bf16.kl_to_reference == pytest.approx(exact.kl_to_reference, rel=0.02)
    assert exact.kl_to_reference < int8.kl_to_reference < 1.3 * exact.kl_to_reference
    with qz.Session(small) as a, qz.Session(small, products="int8") as b:
        assert (a.products, b.products) == ("exact", "int8")
        exactly = a.logits([1, 2, 3])
        assert not np.array_equal(exactly, b.logits([1, 2, 3]))
        b.products = "exact"
        b.reset()
        assert np.array_equal(exactly, b.logits([1, 2, 3]))
    with pytest.raises(qz.InvalidArgument, match="exact, bf16, int8"):
        qz.Session(small, products="f64")


def test_generation(model):
    with qz.Session(model) as session:
        first = session.generate([0], max_tokens=24, seed=1)
        session.reset()
        seen = []
        assert session.generate([0], max_tokens=24, seed=1, on_token=seen.append) == first == seen
        session.reset()
        assert session.generate([0], max_tokens=24, seed=1, on_token=lambda token: len(seen) > 0) == first[:1]
        session.reset()
        greedy = session.generate([0], max_tokens=4, greedy=True)
        session.reset()
        assert greedy[0] == session.logits([0]).argmax()
        session.reset()
        with pytest.raises(ZeroDivisionError):
            session.generate([0], on_token=lambda token: 1 // 0)
    assert len(first) == 24 or first[-1] == EOS


@pytest.mark.parametrize("format", ["gptq", "gptq_v2", "plain"])
def test_convert_keeps_the_weights(small, heldout, tmp_path, format):
    small.save(tmp_path / "out", format=format)
    with qz.Model.open(tmp_path / "out") as converted:
        assert converted.info.format == format
        measured = qz.perplexity(converted, heldout, small)
    if format == "plain":
        assert measured.kl_to_reference < 1e-4  # dequantized weights are rounded to bfloat16 once more
    else:
        assert measured.kl_to_reference == pytest.approx(0, abs=1e-6)


def test_a_target_that_exists_is_left_alone(small, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(qz.InvalidArgument):
        small.save(tmp_path / "out", format="gptq")
    assert os.listdir(tmp_path / "out") == ["mine.txt"]


def test_verify(small, model, quantized, tmp_path):
    assert small.verify(quantized).ok
    small.save(tmp_path / "copy")
    shard = next((tmp_path / "copy").glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    damaged = small.verify(tmp_path / "copy")
    assert not damaged.ok and any(f["severity"] == "error" for f in damaged.findings)


def test_plan_rules(model, calibration):
    plan = qz.Plan(model).add("*", "gptq", "w4g128").add("*.layers.0.*", "rtn", qz.Scheme(8, qz.ROW)).add("*.down_proj", "keep")
    by_name = {m.name: m for m in plan.run(calibration).modules}
    assert by_name["model.layers.0.self_attn.q_proj"].bits == 8
    assert by_name["model.layers.0.self_attn.q_proj"].group == qz.ROW
    assert by_name["model.layers.1.self_attn.q_proj"].bits == 4
    assert not by_name["model.layers.0.mlp.down_proj"].quantized
    again = qz.Plan.from_json(model, plan.to_json())
    assert again.to_json() == plan.to_json()
    with pytest.raises(qz.InvalidArgument, match="nothing_like_it"):
        plan.add("nothing_like_it", "keep")


def test_options_reach_the_solver(model, calibration):
    def reports(**options):
        return qz.gptq(model, calibration, "w4g128", qz.GptqOptions(**options)).report

    assert {r.damp for r in reports(damp=0.25)} == {0.25}
    off = reports(drift=0, residual=0)
    assert {(r.drift, r.residual) for r in off} == {(0.0, 0.0)}
    plain = reports(drift=0, residual=0, sweeps=0, search=False, signed_grid=False, refit=False)
    assert np.mean([r.output_error for r in off]) < np.mean([r.output_error for r in plain])
    with pytest.raises(qz.InvalidArgument, match="damp"):
        reports(damp=0)
    with pytest.raises(qz.InvalidArgument, match="order"):
        reports(order="sideways")


def test_the_same_bits_for_any_number_of_threads(calibration, tmp_path):
    for threads in (1, 3):
        with qz.Context(threads) as context, qz.Model.open(SAMPLE, context=context) as model:
            qz.gptq(model, calibration, "w4g128", stream_to=tmp_path / str(threads))
    assert (tmp_path / "1/model.safetensors").read_bytes() == (tmp_path / "3/model.safetensors").read_bytes()


def test_handles_may_go_in_any_order(calibration):
    context = qz.Context(1)
    model = qz.Model.open(SAMPLE, context=context)
    session = qz.Session(model)
    rounded = qz.rtn(model)
    context.close()
    model.close()
    assert session.logits([1, 2]).shape == (2, VOCAB)
    assert rounded.modules[0].name.startswith("model.layers.0.")
    with pytest.raises(ValueError, match="Model is closed"):
        model.info


def test_one_model_many_threads(model):
    results = {}

    def work(i):
        with qz.Session(model) as session:
            results[i] = session.generate([0], max_tokens=8, seed=7)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len({tuple(r) for r in results.values()}) == 1
    assert len(next(iter(results.values()))) <= 8 and LAYERS == model.info.layers


def test_context(model):
    with qz.Context(threads=1, settings={"limits.layers": 3}) as context:
        arch = context.devices[0].arch
        assert arch in {"avx512_amx", "avx512_bf16", "avx512_vnni", "avx512", "avx2", "neon_i8mm_bf16", "neon_dot", "neon", "ref"}
        assert context.devices[0].units >= 1
        with pytest.raises(qz.Error, match="4"):
            qz.Model.open(SAMPLE, context=context)
    with pytest.raises(qz.InvalidArgument, match="no.such.key"):
        qz.Context(settings={"no.such.key": 1})
