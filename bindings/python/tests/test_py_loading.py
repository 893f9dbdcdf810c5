"""Will it load, and what to do: the goldens of other tools pass, directories that loaders refuse are found out, with the reason."""
import json
import shutil

import pytest
from broken import BROKEN
from sample import ROOT, SAMPLE

import qz

CONFIGS = ROOT / "tests/data/configs"
GOLDENS = sorted(path.parent for path in (ROOT / "tests/data/goldens/quantized").glob("*/config.json"))


def test_a_plan_is_judged_before_it_is_run(model):
    plan = qz.Plan(model).add("*", "rtn", "w4g128a")
    assert not [f for f in qz.check_loading(plan, "vllm") if f.severity == "error"]
    errors = [f for f in qz.check_loading(plan, "vllm", format="gptq") if f.severity == "error"]
    assert errors and "symmetric" in errors[0].text and errors[0].source
    with pytest.raises(qz.InvalidArgument, match="llama.cpp"):
        qz.check_loading(plan, "abacus")
    with pytest.raises(qz.Unsupported):
        qz.check_loading(qz.Plan(model).add("*", "rtn", "w4tensor"), "vllm", format="gptq")


def test_what_qz_writes_passes(cli_json, quantized):
    for loader in ("vllm", "transformers", "llama.cpp"):
        assert cli_json("check", quantized, "--loader", loader)["ok"], loader


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.name)
def test_what_other_tools_write_passes(cli_json, golden):
    assert cli_json("check", golden, "--loader", "transformers")["ok"]


@pytest.mark.parametrize("what, change, word", BROKEN, ids=[row[0] for row in BROKEN])
def test_broken_directories_are_found_out(cli, quantized, tmp_path, what, change, word):
    directory = tmp_path / "broken"
    shutil.copytree(quantized, directory)
    change(directory)
    status, out, err = cli("check", directory, "--loader", "vllm", "--json")
    if status == 1:
        findings = json.loads(out)["findings"]
        assert any(f["severity"] == "error" and word in f["text"] for f in findings), findings
    else:  # a directory that is not there, in part
        assert status in {3, 4, 5} and word in err, (status, err)


def test_advice_follows_the_goal_and_the_device(cli, cli_json):
    qwen = CONFIGS / "qwen3-8b/config.json"
    choose = lambda *words: (cli_json("advise", qwen, *words)["chosen"] or {}).get("recipe", {}).get("weights")  # noqa: E731
    assert choose("--device", "24GiB") == "bf16"
    assert choose("--device", "12GiB") == "w8"
    assert choose("--device", "8GiB") == "w4g128"
    assert choose("--device", "24GiB", "--goal", "speed") == "w4g128"
    assert choose("--device", "24GiB", "--goal", "memory") == "w3g128"
    assert choose("--device", "16GiB", "--goal", "train") == "nf4-dq"
    assert choose("--device", "1GiB") is None
    answer = cli_json("advise", qwen, "--device", "RTX 4090", "--goal", "speed")
    assert answer["reasons"] and answer["do"].startswith("qz quantize") and answer["options"][-1]["tokens_per_s"] > 100
    status, out, _ = cli("advise", SAMPLE, "--device", "cpu:0")
    assert status == 0 and "goal quality" in out
