"""The command line: results on stdout, one line of error on stderr, an exit status that a script can use."""
import json
import math
import os
import shutil

import numpy as np
import pytest
from sample import MODULES, SAMPLE

FAST = ("--samples", "8", "--length", "64")


def test_the_whole_way(cli_json, cli, prose, tmp_path):
    out, gptq = tmp_path / "w4", tmp_path / "gptq"
    made = cli_json("quantize", SAMPLE, out, "--samples", "32", "--length", "128", "--calib", prose)
    assert made["modules"] == MODULES and made["fallbacks"] == [] and made["format"] == "compressed-tensors"
    assert 4 < made["bits_per_weight"] < 4.5
    assert made["bytes_after"] == sum(file.stat().st_size for file in out.glob("*.safetensors")) < made["bytes_before"]
    assert 0 < made["output_error"] < made["rtn_output_error"]
    assert len(made["module_reports"]) == MODULES and made["calibration"] == {"sequences": 32, "tokens": 4096, "seed": 0}

    assert cli_json("inspect", out)["info"]["format"] == "compressed-tensors"
    assert cli_json("verify", out)["ok"] is True
    measured = cli_json("eval", out, "--reference", SAMPLE, "--text", prose, "--window", "128", "--limit-tokens", "1024")
    assert measured["tokens"] == 8 * 127 and 0 < measured["kl_to_reference"] < 1 and measured["perplexity"] > 1
    assert cli_json("eval", SAMPLE, "--text", prose, "--window", "128", "--limit-tokens", "256")["kl_to_reference"] is None

    int8 = cli_json("eval", out, "--reference", SAMPLE, "--text", prose, "--window", "128", "--limit-tokens", "1024", "--products", "int8")
    assert int8["products"] == "int8"
    assert measured["kl_to_reference"] < int8["kl_to_reference"] < 1.5 * measured["kl_to_reference"]

    cli_json("convert", out, gptq, "--format", "gptq")
    assert cli_json("verify", gptq, "--against", out)["ok"] is True
    again = cli_json("eval", gptq, "--reference", out, "--text", prose, "--window", "128", "--limit-tokens", "256")
    assert again["kl_to_reference"] == pytest.approx(0, abs=1e-6)

    written = cli_json("generate", out, "--prompt", "The library", "--max-tokens", "12", "--greedy")
    assert 0 < len(written["tokens"]) <= 12
    status, text, _ = cli("generate", out, "--prompt", "The library", "--max-tokens", "12", "--greedy")
    assert status == 0 and text == f"The library{written['text']}\n"
    assert len(cli_json("report", out)["report"]["modules"]) >= MODULES


def test_human_output(cli, quantized):
    for words, expected in [(("inspect", quantized), "compressed-tensors"),
                            (("inspect", "--modules", SAMPLE), "model.layers.3.mlp.down_proj"),
                            (("report", quantized), "model.layers.0.self_attn.q_proj"), (("verify", quantized), "as it was written")]:
        status, out, err = cli(*words)
        assert status == 0 and expected in out and err == ""


def test_summary_names_what_matters(cli, tmp_path):
    status, out, err = cli("quantize", SAMPLE, tmp_path / "out", *FAST)
    assert status == 0 and "error" not in err
    for word in ("28 quantized", "bits per weight", "weight files", "of rounding to nearest", "fallbacks", "time", "peak memory"):
        assert word in out


def test_rtn_needs_no_calibration(cli_json, tmp_path):
    made = cli_json("quantize", SAMPLE, tmp_path / "out", "--method", "rtn", "--bits", "8", "--group", "row")
    assert made["calibration"] is None and {(r["method"], r["bits"], r["group"]) for r in made["module_reports"]} == {("rtn", 8, -1)}


def test_rules(cli_json, tmp_path):
    cli_json("quantize", SAMPLE, tmp_path / "out", *FAST, "--asymmetric", "--format", "gptq", "--rule", "*.layers.0.*=w8g128", "--rule",
             "*.o_proj=keep", "--rule", "*.layers.1.mlp.*=rtn")
    modules = {m["name"]: m for m in cli_json("inspect", tmp_path / "out")["modules"]}
    assert modules["model.layers.0.mlp.up_proj"]["bits"] == 8
    assert modules["model.layers.0.self_attn.o_proj"]["quantized"] is False
    methods = {m["name"]: m["method"] for m in cli_json("report", tmp_path / "out")["report"]["modules"]}
    assert methods["model.layers.1.mlp.up_proj"] == "rtn" and methods["model.layers.1.self_attn.q_proj"] == "gptq"


def test_a_plan_from_a_file(cli_json, tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"rules": [{"glob": "*", "method": "rtn", "scheme": "w8g128"}]}))
    made = cli_json("quantize", SAMPLE, tmp_path / "out", "--plan", tmp_path / "plan.json")
    assert made["calibration"] is None and {r["bits"] for r in made["module_reports"]} == {8}


def test_saved_calibration_gives_the_same_directory(cli_json, tmp_path):
    cli_json("quantize", SAMPLE, tmp_path / "a", *FAST, "--save-calib", tmp_path / "calibration")
    cli_json("quantize", SAMPLE, tmp_path / "b", "--calib", tmp_path / "calibration")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_short_text_is_a_warning_in_both_outputs(cli, tmp_path):
    (tmp_path / "short.txt").write_text("Only a few words, they do not fill many samples. " * 8)
    status, out, err = cli("quantize", SAMPLE, tmp_path / "out", "--calib", tmp_path / "short.txt", "--samples", "32", "--length", "32",
                           "--json")
    assert status == 0 and "qz: warning: the calibration text fills" in err
    assert any("the calibration text fills" in warning for warning in json.loads(out)["warnings"])


def failures(tmp_path):
    """(words, exit status, what the message says)"""
    missing = tmp_path / "missing"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/config.json").write_text('{"model_type": "llama", "num_hidden_layers": "four"}')
    (tmp_path / "exists").mkdir()
    (tmp_path / "chat.jsonl").write_text('{"messages": []}')
    (tmp_path / "few.txt").write_text("few words")
    np.save(tmp_path / "floats.npy", np.zeros(9))
    out = tmp_path / "out"
    return [
        ((), 2, "Missing command"),
        (("quantise",), 2, "quantise"),
        (("quantize", SAMPLE), 2, "OUT"),
        (("quantize", SAMPLE, out, "--group", "many"), 2, "many"),
        (("quantize", SAMPLE, out, "--rule", "x"), 2, "GLOB=SPEC"),
        (("quantize", SAMPLE, out, "--scheme", "w99"), 2, "w99"),
        (("quantize", SAMPLE, out, "--calib", "mix"), 2, "needs a --calib FILE"),
        (("quantize", SAMPLE, out, "--calib", "self", "--calib", tmp_path / "few.txt"), 2, "takes no file"),
        (("quantize", SAMPLE, out, "--bits", "5"), 3, "5"),
        (("quantize", SAMPLE, out, "--rule", "no.such.module=keep"), 3, "no.such.module"),
        (("quantize", SAMPLE, tmp_path / "exists", "--method", "rtn"), 3, "exists"),
        (("quantize", SAMPLE, out, "--calib", tmp_path / "few.txt"), 3, "needs"),
        (("quantize", SAMPLE, out, "--calib", tmp_path / "floats.npy"), 3, "floats.npy"),
        (("quantize", SAMPLE, out, "--calib", tmp_path / "chat.jsonl"), 4, "chat template"),
        (("quantize", SAMPLE, out, "--calib", missing), 5, "missing"),
        (("quantize", SAMPLE, tmp_path / "no/such/parent", "--method", "rtn"), 5, "no/such"),
        (("quantize", SAMPLE, out, "--method", "rtn", "--set", "no.such.key=1"), 3, "no.such.key"),
        (("eval", SAMPLE), 2, "--text"),
        (("eval", SAMPLE, "--tokens", missing), 5, "missing"),
        (("inspect", missing), 5, "missing"),
        (("inspect", "--config-only", tmp_path / "bad"), 3, "config.json"),
        (("report", SAMPLE), 4, "report"),
    ]


@pytest.mark.parametrize("i", range(22))
def test_failures(cli, tmp_path, i):
    words, expected, says = failures(tmp_path)[i]
    before = sorted(os.listdir(tmp_path))
    status, out, err = cli(*words)
    assert status == expected, err
    assert err.count("\n") == 1 and err.startswith("qz: error: ") and says in err
    assert out == "" and sorted(os.listdir(tmp_path)) == before
    status, out, err = cli(*words, "--json")
    error = json.loads(out)["error"]
    assert status == expected == error["exit_status"] and error["text"] in err


def test_the_list_of_failures_is_the_whole_list(tmp_path):
    assert len(failures(tmp_path)) == 22


def test_nan_in_a_weight_is_found(cli, tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "nan")
    shard = tmp_path / "nan/model.safetensors"
    os.chmod(shard, 0o644)
    data = bytearray(shard.read_bytes())
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    at = 8 + int.from_bytes(data[:8], "little") + header["model.layers.2.mlp.up_proj.weight"]["data_offsets"][0]
    data[at:at + 2] = (0x7FC0).to_bytes(2, "little")
    shard.write_bytes(data)
    status, _, err = cli("quantize", tmp_path / "nan", tmp_path / "out", "--method", "rtn")
    assert status in {3, 6} and "model.layers.2.mlp.up_proj" in err
    assert not (tmp_path / "out").exists()


def test_verify_finds_a_flipped_bit(cli, quantized, tmp_path):
    shutil.copytree(quantized, tmp_path / "copy")
    shard = tmp_path / "copy/model.safetensors"
    data = bytearray(shard.read_bytes())
    data[-64] ^= 4
    shard.write_bytes(data)
    status, out, _ = cli("verify", tmp_path / "copy", "--json")
    document = json.loads(out)
    assert status == 1 and document["ok"] is False and document["findings"]


def test_verify_finds_a_cut_file(cli, quantized, tmp_path):
    shutil.copytree(quantized, tmp_path / "copy")
    shard = tmp_path / "copy/model.safetensors"
    os.truncate(shard, shard.stat().st_size - 1)
    status, out, _ = cli("verify", tmp_path / "copy", "--json")
    assert status == 1 and json.loads(out)["findings"]


def test_debug_shows_where_it_came_from(cli, tmp_path):
    assert "Traceback" in cli("inspect", tmp_path / "missing", "--debug")[2]


def test_json_has_no_nan(capsys):
    from qz.cli.common import write_json
    write_json({"a": math.nan, "b": [math.inf, 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


def test_a_reader_that_leaves_early(qz_process):
    process = qz_process("inspect", SAMPLE, "--modules", "--json")
    process.stdout.close()
    process.wait()
    assert "Traceback" not in process.stderr.read()


def test_help_of_every_command(cli):
    for words in [(), ("quantize",), ("eval",), ("generate",), ("inspect",), ("convert",), ("verify",), ("report",)]:
        status, out, _ = cli(*words, "--help")
        assert status == 0 and "Usage: qz" in out
