#!/usr/bin/env python3
"""A llama or Mixtral of random weights with real shapes, in shards: for memory and speed, not for accuracy.

    tools/make_random_model.py tinyllama-1.1b DIR [--layers N]

BF16, N(0, 0.02), norms 1 + N(0, 0.05), seed 0. Needs numpy only; memory: one tensor.
"""
import argparse
import json
import pathlib
import struct

import numpy as np

SHAPES = {
    "tinyllama-1.1b": dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4,
                           head_dim=64, vocab_size=32000),
    "smollm-135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                        head_dim=64, vocab_size=49152),
    # For runs of seconds.
    "small": dict(hidden_size=384, intermediate_size=1024, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3, head_dim=64,
                  vocab_size=8192),
    "wide": dict(hidden_size=192, intermediate_size=512, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=64,
                 vocab_size=49152),
    "small-experts": dict(hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                          vocab_size=4096, num_local_experts=4, num_experts_per_tok=2),
}
LAYERS_PER_SHARD = 6


def tensors(c, first, last):
    """Names and shapes of the blocks first ... last - 1."""
    h, f, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    for i in range(first, last):
        shapes = {"input_layernorm": (h,), "post_attention_layernorm": (h,), "self_attn.q_proj": (q, h), "self_attn.k_proj": (kv, h),
                  "self_attn.v_proj": (kv, h), "self_attn.o_proj": (h, q)}
        if experts := c.get("num_local_experts"):
            shapes["block_sparse_moe.gate"] = (experts, h)
            for e in range(experts):
                shapes.update({f"block_sparse_moe.experts.{e}.{name}": shape for name, shape in (("w1", (f, h)), ("w2", (h, f)), ("w3", (f, h)))})
        else:
            shapes.update({"mlp.gate_proj": (f, h), "mlp.up_proj": (f, h), "mlp.down_proj": (h, f)})
        yield from ((f"model.layers.{i}.{name}.weight", shape) for name, shape in shapes.items())


def random_bf16(rng, shape):
    x = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02 if len(shape) > 1 else 0.05) + np.float32(len(shape) == 1)
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_shard(path, rng, names_and_shapes):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in names_and_shapes:
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, shape in names_and_shapes:
            random_bf16(rng, shape).tofile(out)
    return at


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--layers", type=int)
    args = parser.parse_args()
    c = dict(SHAPES[args.shape])
    if args.layers:
        c["num_hidden_layers"] = args.layers
    args.dir.mkdir(parents=True)
    rng = np.random.default_rng(0)
    ends = [("model.embed_tokens.weight", (c["vocab_size"], c["hidden_size"])), ("lm_head.weight", (c["vocab_size"], c["hidden_size"])),
            ("model.norm.weight", (c["hidden_size"],))]
    groups = [ends] + [list(tensors(c, i, min(i + LAYERS_PER_SHARD, c["num_hidden_layers"]))) for i in range(0, c["num_hidden_layers"], LAYERS_PER_SHARD)]
    weight_map, total = {}, 0
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        total += write_shard(args.dir / name, rng, group)
        weight_map.update({tensor: name for tensor, _ in group})
    (args.dir / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2))
    family = "Mixtral" if "num_local_experts" in c else "Llama"
    config = dict(architectures=[f"{family}ForCausalLM"], model_type=family.lower(), hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000.0,
                  max_position_embeddings=2048, tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=1, eos_token_id=2, **c)
    (args.dir / "config.json").write_text(json.dumps(config, indent=2))
    print(f"{args.dir}: {total / 2e9:.2f} billion parameters, {total / 1e9:.2f} GB in {len(groups)} shards")


if __name__ == "__main__":
    main()
