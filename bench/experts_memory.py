#!/usr/bin/env python3
"""Peak memory of quantizing one block of 64 experts: GPTQ on random weights, streamed to a directory, beside what the Hessians of all
experts would take at once. Fails when the run needs as much.

    bench/experts_memory.py DIRECTORY [--experts 64] [--hidden 1024] [--width 512] [--tokens 2048]

DIRECTORY receives the model (a Qwen3-MoE of one block, made here from random numbers) and the result; both are left there.
"""
import argparse
import json
import os
import resource
import struct
import sys

import numpy as np


def write_model(path, a):
    os.makedirs(path, exist_ok=True)
    heads = a.hidden // 64
    config = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": a.hidden, "num_hidden_layers": 1,
              "num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": 64, "intermediate_size": a.width,
              "moe_intermediate_size": a.width, "num_experts": a.experts, "num_experts_per_tok": 4, "norm_topk_prob": True,
              "vocab_size": 512, "max_position_embeddings": 512, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
              "tie_word_embeddings": True, "torch_dtype": "float16", "bos_token_id": 0, "eos_token_id": 1}
    shapes = {"model.embed_tokens.weight": [512, a.hidden], "model.norm.weight": [a.hidden]}
    layer = "model.layers.0."
    for norm, width in (("input_layernorm", a.hidden), ("post_attention_layernorm", a.hidden), ("self_attn.q_norm", 64), ("self_attn.k_norm", 64)):
        shapes[layer + norm + ".weight"] = [width]
    for part in "qkvo":
        shapes[f"{layer}self_attn.{part}_proj.weight"] = [a.hidden, a.hidden]
    shapes[layer + "mlp.gate.weight"] = [a.experts, a.hidden]
    for e in range(a.experts):
        for part, shape in (("gate", [a.width, a.hidden]), ("up", [a.width, a.hidden]), ("down", [a.hidden, a.width])):
            shapes[f"{layer}mlp.experts.{e}.{part}_proj.weight"] = shape
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(1)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            values = random.standard_normal(shape, dtype=np.float32) * (0.2 if "embed" in name else shape[-1] ** -0.5)
            f.write((1 + 0.1 * values if "norm" in name else values).astype(np.float16).tobytes())
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    for name, value in (("experts", 64), ("hidden", 1024), ("width", 512), ("tokens", 2048)):
        parser.add_argument("--" + name, type=int, default=value)
    a = parser.parse_args()
    source = os.path.join(a.directory, "model")
    child = os.fork()  # so that making the model does not count
    if child == 0:
        write_model(source, a)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("the model could not be written")

    import qz

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model = qz.Model.open(source)
    calibration = qz.Calibration.from_tokens(np.random.default_rng(2).integers(0, 512, (a.tokens // 256, 256)))
    plan = qz.Plan(model)
    plan.add("*", "gptq", "w4g128")
    quantized = plan.run(calibration, stream_to=os.path.join(a.directory, "w4g128"), overwrite=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    hessians = a.experts * 4 * (a.hidden**2 + a.width**2) / 2**20
    report = quantized.report_json()
    routed = [m["routed_tokens"] for m in report["modules"] if m.get("routed_tokens") is not None]
    print(f"experts {a.experts}, hidden {a.hidden}, width {a.width}, {a.tokens} tokens; routed to one expert: {min(routed)} to {max(routed)}")
    print(f"one Hessian for each input of each expert, at once: {hessians:.0f} MiB; with what corrects for drift {2 * hessians:.0f} MiB")
    print(f"resident: {before:.0f} MiB before the run, {peak:.0f} MiB at its peak, {peak - before:.0f} MiB for the run")
    for event in report["events"]:
        print("event:", event)
    if peak - before >= hessians:
        sys.exit("the run needs as much as all Hessians at once")


if __name__ == "__main__":
    main()
