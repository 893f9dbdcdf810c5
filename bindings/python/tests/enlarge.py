"""A golden model of tests/data/goldens/models with every width times FACTOR, random weights, more words and longer sequences: the shapes
of a family, large enough that what a run takes is not lost in what Python takes."""
import json
import struct

import numpy as np
from sample import ROOT

MODELS = ROOT / "tests/data/goldens/models"
FACTOR, VOCAB, POSITIONS = 8, 4096, 1024
WIDTHS = {"hidden_size", "n_embd", "intermediate_size", "ffn_dim", "ffn_hidden_size", "moe_intermediate_size", "word_embed_proj_dim",
          "shared_expert_intermediate_size", "head_dim", "qk_head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank",
          "q_lora_rank", "query_pre_attn_scalar"}
LENGTHS = {"max_position_embeddings", "n_positions"}
ENDS = ("embed_tokens.weight", "lm_head.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "embed_out.weight")
COUNTS = ("mlp.gate.weight", "block_sparse_moe.gate.weight", "shared_expert_gate.weight", "e_score_correction_bias")  # first dimension


def enlarge(name, target):
    """Writes the enlarged model into the directory `target`, which must not exist. Returns it."""
    config = json.loads((MODELS / name / "config.json").read_text())
    positions = max(config.get(key, 0) for key in LENGTHS)
    for key, value in list(config.items()):
        if isinstance(value, int) and value:
            config[key] = value * FACTOR if key in WIDTHS else POSITIONS if key in LENGTHS else VOCAB if key == "vocab_size" else value
    config["torch_dtype"] = "bfloat16"
    rng, header, parts, at = np.random.default_rng(0), {}, [], 0
    for tensor, shape in sorted(shapes(MODELS / name)):
        if tensor.endswith(ENDS):
            new = [VOCAB, *(n * FACTOR for n in shape[1:])]
        elif "position" in tensor or "wpe" in tensor:
            new = [shape[0] - positions + POSITIONS, *(n * FACTOR for n in shape[1:])]
        else:
            new = [n if i == 0 and tensor.endswith(COUNTS) else n * FACTOR for i, n in enumerate(shape)]
        values = rng.standard_normal(new, dtype=np.float32) * np.float32(0.02) + np.float32(len(new) == 1 and tensor.endswith("weight"))
        parts.append((values.view(np.uint32) >> 16).astype("<u2").tobytes())
        header[tensor] = {"dtype": "BF16", "shape": new, "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    target.mkdir()
    (target / "config.json").write_text(json.dumps(config))
    text = json.dumps(header).encode()
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    return target


def shapes(directory):
    for file in directory.glob("*.safetensors"):
        with open(file, "rb") as data:
            header = json.loads(data.read(struct.unpack("<Q", data.read(8))[0]))
        yield from ((name, tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
