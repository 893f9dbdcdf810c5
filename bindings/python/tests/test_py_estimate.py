"""Estimates from Python and on the command line: published figures, files that are really written, refusals."""
import json
import shutil

import pytest
from sample import ROOT, SAMPLE

import qz

CONFIGS = ROOT / "tests/data/configs"


@pytest.fixture(scope="module")
def qwen():
    with qz.Model.open(CONFIGS / "qwen3-8b", config_only=True) as opened:
        yield opened


def test_items_add_up(qwen):
    result = qz.estimate(qwen, qz.MemoryQuery(weights="w4g128", seq_len=4096))
    assert sum(item.bytes for item in result.items) == result.device and result.host == result.disk == 0
    kv = next(item for item in result.items if item.kind == "kv_cache")
    assert kv.bytes == 147456 * 4096
    assert sum(item.bytes for item in result.items if item.kind in {"weights", "scales"}) / 2**30 == pytest.approx(5.66, abs=0.01)


def test_what_fits(qwen):
    found = qz.fit(qwen, 16 << 30, "context", qz.MemoryQuery(weights="w4g128"))
    assert found.value > 32768 and found.needed <= 16 << 30
    assert qz.fit(qwen, 12 << 30, "bits").weights == "w8"
    with pytest.raises(qz.InvalidArgument, match="ask"):
        qz.fit(qwen, 1, "luck")


@pytest.mark.parametrize("scheme", ["w4g128", "w4g64a", "w8", "w3g128", "w2g64"])
@pytest.mark.parametrize("format", ["compressed-tensors", "gptq", "gptq_v2", "gptq_p"])
def test_the_files_have_the_announced_bytes(model, tmp_path, scheme, format):
    plan = qz.Plan(model).add("*", "rtn", scheme)
    query = qz.MemoryQuery(goal="quantize", plan=plan, format=format)
    try:
        announced = qz.estimate(model, query)
    except qz.Unsupported as problem:
        with pytest.raises(qz.Unsupported) as same:  # what cannot be written is not announced either
            plan.run(format=format, stream_to=tmp_path / "out")
        assert str(problem).split(": ", 1)[1] == str(same.value).split(": ", 1)[1]
        return
    plan.run(format=format, stream_to=tmp_path / "out").close()
    written = sum(file.stat().st_size for file in (tmp_path / "out").glob("model*.safetensors*"))
    assert announced.disk == written


def test_deepspeed_configuration(tmp_path, cli):
    file = tmp_path / "zero.json"
    status, _, err = cli("estimate", CONFIGS / "qwen3-8b", "--for", "train", "--zero", "3", "--offload", "parameters", "--devices", "8",
                         "--deepspeed", file)
    assert status == 0, err
    config = json.loads(file.read_text())
    assert config["zero_optimization"]["stage"] == 3 and config["train_batch_size"] == 8
    with pytest.raises(qz.InvalidArgument, match="ZeRO"):
        qz.deepspeed_config(qz.MemoryQuery())


def test_the_command_answers_the_question(cli, cli_json):
    answer = cli_json("estimate", CONFIGS / "qwen3-8b/config.json", "--weights", "w4g128", "--context", "4096", "--context", "32768", "--device",
                      "16GiB", "--which")
    assert [row["fits"] for row in answer["estimates"]] == [True, True]
    by_name = {(row["name"], row["weights"]): row for row in answer["which"]}
    assert by_name["Tesla T4", "w4g128"]["fits"]
    answer = cli_json("estimate", CONFIGS / "llama-2-70b", "--weights", "bf16", "--weights", "w4g128", "--device", "A6000")
    assert [row["fits"] for row in answer["estimates"]] == [False, True]
    answer = cli_json("estimate", CONFIGS / "qwen3-8b", "--for", "qlora", "--device", "RTX 4090")
    assert answer["estimates"][0]["fits"] and answer["device"]["memory"] == 24 << 30
    status, out, _ = cli("estimate", SAMPLE, "--device", "cpu:0")
    assert status == 0 and "keys and values" in out and "fits" in out
    status, _, err = cli("estimate", SAMPLE, "--device", "abacus")
    assert status == 2 and "H200" in err


def test_a_plot_needs_its_package_or_draws(cli, quantized, tmp_path):
    file = tmp_path / "memory.html"
    status, _, err = cli("estimate", CONFIGS / "qwen3-8b", "--weights", "bf16", "--weights", "w4g128", "--device", "16GiB", "--plot", file)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert status == 4 and "pip install 'qz[plot]'" in err
    else:
        assert status == 0 and "w4g128" in file.read_text()
        # The fixture ran in this process, which may have been larger before: then its report has no peak of its own.
        run = shutil.copytree(quantized, tmp_path / "run")
        report = json.loads((run / "qz_report.json").read_text())
        report["memory"]["measured"] = report["memory"]["measured"] or 100_000_000
        (run / "qz_report.json").write_text(json.dumps(report))
        points = ("--measured", "4096:7.1GiB", "--measured", run)
        assert cli("estimate", CONFIGS / "qwen3-8b", "--plot", file, *points[:2])[0] == 0 and "measured: 7.1GiB" in file.read_text()
        assert cli("estimate", SAMPLE, "--for", "quantize", "--batch", "16", "--plot", file, *points[2:])[0] == 0
        assert "tokens of a calibration sequence" in file.read_text() and f"measured: {run}" in file.read_text()
        assert cli("estimate", SAMPLE, "--plot", file, "--measured", "99999999:1GiB")[0] == 2
    assert cli("estimate", CONFIGS / "qwen3-8b", "--plot", tmp_path / "x.bmp")[0] == 2


def test_a_dry_run_announces_and_writes_nothing(cli, cli_json, tmp_path):
    out = tmp_path / "out"
    announced = cli_json("quantize", SAMPLE, out, "--dry-run", "--samples", "8", "--length", "64")
    assert not out.exists() and announced["host"] > 10**7
    made = cli_json("quantize", SAMPLE, out, "--samples", "8", "--length", "64")
    assert announced["disk"] == made["bytes_after"]
    assert made["memory"]["measured"] > 0 and made["memory"]["estimated"] > 0
    assert cli_json("report", out)["report"]["memory"]["estimated"] == made["memory"]["estimated"]
    assert " estimated" in cli("report", out)[1]
    status, text, _ = cli("quantize", SAMPLE, out, "--dry-run")
    assert status == 0 and "residual streams" in text and "model.safetensors" in text


def test_a_device_takes_host_memory_too():
    model = qz.Model.open(SAMPLE)
    for gpu in (None, 0):
        announced = qz.estimate(model, qz.MemoryQuery(goal="quantize", batch=8, seq_len=64, gpu=gpu))
        assert any("driver" in note for note in announced.notes) == (gpu is not None)


def test_every_command_logs_memory(cli, tmp_path):
    log = tmp_path / "memory.tsv"
    assert cli("inspect", SAMPLE, "--memory-log", log)[0] == 0
    lines = log.read_text().splitlines()
    assert lines[0].split("\t")[:3] == ["seconds", "host", "host_peak"] and int(lines[-1].split("\t")[1]) > 10**6
