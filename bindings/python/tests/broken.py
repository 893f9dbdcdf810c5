"""Ways to break a quantized directory (compressed-tensors, w4g128, the sample model's shapes) so that loaders refuse it, and a word that
`qz check` must then say. tests/loaders/refusals.py asks the loaders themselves."""
import json
import shutil


def edit(key, value):
    def change(directory):
        config = json.loads((directory / "config.json").read_text())
        *path, last = key.split(".")
        at = config
        for name in path:
            at = at[name]
        if value is None:
            del at[last]
        else:
            at[last] = value
        (directory / "config.json").write_text(json.dumps(config))
    return change


def raw_header(change):
    """Changes the JSON header of model.safetensors in place, as long as before."""
    def do(directory):
        data = bytearray((directory / "model.safetensors").read_bytes())
        size = int.from_bytes(data[:8], "little")
        text = change(bytes(data[8:8 + size]).decode().rstrip())
        assert len(text) <= size
        data[8:8 + size] = text.encode().ljust(size)
        (directory / "model.safetensors").write_bytes(data)
    return do


GROUP = "quantization_config.config_groups.group_0.weights."
BROKEN = [
    ("missing tensor", raw_header(lambda t: t.replace("layers.0.mlp.up_proj.weight_scale", "layers.0.mlp.up_proj.weight_skale")), "weight_scale"),
    ("truncated file", lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-8]), "model.safetensors"),
    ("no weights", lambda d: (d / "model.safetensors").unlink(), "model.safetensors"),
    ("no config", lambda d: (d / "config.json").unlink(), "config.json"),
    ("config is not JSON", lambda d: (d / "config.json").write_text("{"), "config.json"),
    ("unknown method", edit("quantization_config.quant_method", "quip"), "quip"),
    ("unknown architecture", lambda d: (edit("architectures", ["NoSuchForCausalLM"])(d), edit("model_type", "nosuch")(d)), "NoSuchForCausalLM"),
    ("wrong bits", edit(GROUP + "num_bits", 8), "weight_packed"),
    ("bits are words", edit(GROUP + "num_bits", "four"), "num_bits"),
    ("wrong group", edit(GROUP + "group_size", 64), "weight_scale"),
    ("hidden size", edit("hidden_size", 192), "192"),
    ("layers", edit("num_hidden_layers", 5), "layers.4"),
    ("heads", edit("num_attention_heads", 5), "num_attention_heads"),
    ("quantization not named", edit("quantization_config", None), "quantization_config"),
    ("stray file", lambda d: shutil.copy(d / "model.safetensors", d / "old.safetensors"), "old.safetensors"),
    ("metadata", raw_header(lambda t: t.replace('"format":"pt"', '"format":"np"')), "format"),
    ("stored order", edit(GROUP + "actorder", "group"), "actorder"),
]
