#!/usr/bin/env python3
"""A llama, Qwen3 or Mixtral of random weights with real shapes, in shards: for memory and speed, not for accuracy.

    tools/make_random_model.py tinyllama-1.1b DIR [--layers N]

BF16, N(0, 0.02), norms 1 + N(0, 0.05), seed 0. Needs numpy only; memory: some 16 MB a thread, whatever the size of a tensor.
"""
import argparse
import concurrent.futures
import itertools
import json
import os
import pathlib
import statistics
import struct

import numpy as np

SHAPES = {
    "tinyllama-1.1b": dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4,
                           head_dim=64, vocab_size=32000),
    "smollm-135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                        head_dim=64, vocab_size=49152),
    "qwen3-8b": dict(hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8,
                     head_dim=128, vocab_size=151936),
    # For runs of seconds.
    "small": dict(hidden_size=384, intermediate_size=1024, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3, head_dim=64,
                  vocab_size=8192),
    "wide": dict(hidden_size=192, intermediate_size=512, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=64,
                 vocab_size=49152),
    "small-experts": dict(hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                          vocab_size=4096, num_local_experts=4, num_experts_per_tok=2),
}
LAYERS_PER_SHARD = 6
PIECE = 4 << 20  # numbers that one thread makes at a time


def tensors(c, first, last):
    """Names and shapes of the blocks first ... last - 1."""
    h, f, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    for i in range(first, last):
        shapes = {"input_layernorm": (h,), "post_attention_layernorm": (h,), "self_attn.q_proj": (q, h), "self_attn.k_proj": (kv, h),
                  "self_attn.v_proj": (kv, h), "self_attn.o_proj": (h, q)}
        if c.get("family") == "Qwen3":
            shapes.update({"self_attn.q_norm": (d,), "self_attn.k_norm": (d,)})
        if experts := c.get("num_local_experts"):
            shapes["block_sparse_moe.gate"] = (experts, h)
            for e in range(experts):
                shapes.update({f"block_sparse_moe.experts.{e}.{name}": shape for name, shape in (("w1", (f, h)), ("w2", (h, f)), ("w3", (f, h)))})
        else:
            shapes.update({"mlp.gate_proj": (f, h), "mlp.up_proj": (f, h), "mlp.down_proj": (h, f)})
        yield from ((f"model.layers.{i}.{name}.weight", shape) for name, shape in shapes.items())


def bf16(x):
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def quantiles():
    """65,536 equally likely values of N(0, 1): a random 16-bit number is a place in it, which is ten times as fast as a normal number."""
    normal = statistics.NormalDist()
    half = np.array([normal.inv_cdf((i + 0.5) / 65536) for i in range(32768, 65536)])
    return np.concatenate([-half[::-1], half])


def write_tensors(out, pool, seeds, shapes):
    """Pieces of all tensors, made by the threads of the pool and written in order, a few ahead."""
    normal = quantiles()
    matrix, vector = bf16(0.02 * normal), bf16(1 + 0.05 * normal)

    def piece(seed, count, table):
        raw = np.random.PCG64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
        return np.take(table, raw)

    waiting = []
    for shape in shapes:
        count = int(np.prod(shape))
        for at in range(0, count, PIECE):
            waiting.append(pool.submit(piece, next(seeds), min(PIECE, count - at), vector if len(shape) == 1 else matrix))
            if len(waiting) > 4:
                waiting.pop(0).result().tofile(out)
    for made in waiting:
        made.result().tofile(out)


def write_shard(path, pool, seeds, names_and_shapes):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in names_and_shapes:
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        write_tensors(out, pool, seeds, [shape for _, shape in names_and_shapes])
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
    c["family"] = {"qwen3-8b": "Qwen3", "small-experts": "Mixtral"}.get(args.shape, "Llama")
    seeds = itertools.count()
    ends = [("model.embed_tokens.weight", (c["vocab_size"], c["hidden_size"])), ("lm_head.weight", (c["vocab_size"], c["hidden_size"])),
            ("model.norm.weight", (c["hidden_size"],))]
    groups = [ends] + [list(tensors(c, i, min(i + LAYERS_PER_SHARD, c["num_hidden_layers"]))) for i in range(0, c["num_hidden_layers"], LAYERS_PER_SHARD)]
    weight_map, total = {}, 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for number, group in enumerate(groups, 1):
            name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
            total += write_shard(args.dir / name, pool, seeds, group)
            weight_map.update({tensor: name for tensor, _ in group})
    (args.dir / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2))
    family = c.pop("family")
    far = family == "Qwen3"
    config = dict(architectures=[f"{family}ForCausalLM"], model_type=family.lower(), hidden_act="silu", rms_norm_eps=1e-6 if far else 1e-5,
                  rope_theta=1e6 if far else 1e4, max_position_embeddings=40960 if far else 2048, tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=1, eos_token_id=2, **c)
    (args.dir / "config.json").write_text(json.dumps(config, indent=2))
    print(f"{args.dir}: {total / 2e9:.2f} billion parameters, {total / 1e9:.2f} GB in {len(groups)} shards")


if __name__ == "__main__":
    main()
