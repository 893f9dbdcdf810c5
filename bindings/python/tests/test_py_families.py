"""Families from the outside: the tables, an unknown directory, encoders."""
import json
import shutil

import numpy as np
import pytest
from sample import ROOT, SAMPLE

import qz

GOLDENS = ROOT / "tests/data/goldens/models"


@pytest.fixture
def unknown(tmp_path):
    """The sample model under the name of a family that nobody knows."""
    directory = tmp_path / "unknown"
    shutil.copytree(SAMPLE, directory)
    config = json.loads((directory / "config.json").read_text())
    config.update(architectures=["YiForCausalLM"], model_type="yi")
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_tables():
    names = [row["name"] for row in qz.families()]
    assert names == sorted(names) and {"llama", "internvl_chat", "bert", "roberta_classifier"} <= set(names)
    table = qz.family("bloom")
    assert table["qkv"] == "self_attention.query_key_value" and table["position"] == "alibi"
    with pytest.raises(qz.InvalidArgument, match="bloom"):
        qz.family("blom")


def test_unknown_directory(unknown):
    found = qz.check_family(unknown)
    assert found.known == "" and "YiForCausalLM" in found.problem and found.closest == "llama" and found.still == ""
    with pytest.raises(qz.Unsupported):
        qz.Model.open(unknown)
    model = qz.Model.open(unknown, arch_json=json.dumps(found.arch_json))
    assert model.info.arch == "yi"
    assert qz.check_family(SAMPLE).known == "llama"


def test_command_line(cli, cli_json, unknown):
    assert {"name": "opt", "hf_class": "OPTForCausalLM", "model_type": "opt"} in cli_json("arch", "list")["families"]
    status, out, err = cli("arch", "show", "opt")
    assert status == 0 and json.loads(out)["down"] == "fc2" and err == ""
    status, out, _ = cli("arch", "check", SAMPLE)
    assert status == 0 and "llama, opens" in out
    status, out, _ = cli("arch", "check", unknown)
    assert status == 1 and "YiForCausalLM" in out and '"base": "llama"' in out and "the directory opens" in out


@pytest.mark.parametrize("name", ["bert", "roberta-classifier"])
def test_encoder(name):
    model = qz.Model.open(GOLDENS / name)
    tokens, want = np.load(GOLDENS / name / "tokens.npy"), np.load(GOLDENS / name / "logits.npy")
    assert model.info.encoder and model.info.classifier == (want.ndim == 2) and model.info.outputs == want.shape[-1]
    got = qz.Session(model).logits(tokens[0])
    assert np.abs(got - (want[0] if want.ndim == 3 else want[:1])).max() < 1e-4
    text = qz.Calibration.from_tokens(tokens)
    small = qz.gptq(model, text, scheme="w4g16")
    judged = qz.perplexity(small, text, reference=model)
    assert judged.protocol == "texts" and np.isnan(judged.perplexity) and judged.kl_to_reference > 0
    with pytest.raises(qz.Unsupported):
        qz.Calibration.generated(model, 2, 8)
    with pytest.raises(qz.InvalidArgument):
        qz.perplexity(small, text)
