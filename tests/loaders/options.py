"""Does every option of a family's configuration file mean here what it means in transformers? `tests/loaders/options.py [family ...]`.

For each option below a tiny random model is made and saved by transformers, opened by qz, and its logits are compared in float32. A
case fails if a logit differs by more than 1e-4 of the largest. An option with a word behind it must be refused with that word. For the
first option of each family every key of config.json is also left out, one at a time: where transformers still loads the model, qz
must compute the same, or name the key as missing.

Needs torch and transformers (5.23 is what it was written against).
"""
import copy
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bindings/python"))

import numpy as np
import torch
import transformers

import qz

BASE = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 80,
        "vocab_size": 128, "max_position_embeddings": 96, "initializer_range": 0.3}
SLIDING = {"use_sliding_window": True, "sliding_window": 8}
MOE = {"moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 2}
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10, "n_routed_experts": 8,
          "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_shared_experts": 2, "first_k_dense_replace": 1, "n_group": 4,
          "topk_group": 2, "routed_scaling_factor": 1.5, "num_key_value_heads": 4}


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 500.0, **more}}


ROPES = [rope("default"), rope("linear", factor=4.0), rope("dynamic", factor=2.0),
         rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
         rope("yarn", factor=4.0, original_max_position_embeddings=24),
         rope("yarn", factor=4.0, original_max_position_embeddings=24, beta_fast=16.0, beta_slow=2.0, attention_factor=1.3),
         rope("yarn", factor=4.0, original_max_position_embeddings=24, mscale=0.7, mscale_all_dim=0.9),
         rope("longrope", factor=4.0, original_max_position_embeddings=24, short_factor=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
              long_factor=[2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7])]
PART = [rope("default", partial_rotary_factor=0.5), rope("default", partial_rotary_factor=0.25)]
ACTIVATIONS = [{"hidden_act": a} for a in ("silu", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python", "relu", "swish")]
WINDOWS = [{"sliding_window": 8}, {"sliding_window": None}]
TIED = [{"tie_word_embeddings": True}, {"tie_word_embeddings": False}]
HEADS = [{"num_key_value_heads": 1}, {"num_key_value_heads": 4}]
HEAD_DIM = [{"head_dim": 8}, {"head_dim": 32}]
BIAS = [{"attention_bias": True}, {"attention_bias": False}]
QWEN_WINDOWS = [{**SLIDING, "max_window_layers": n} for n in (0, 1, 3)] + [
    {**SLIDING, "layer_types": ["full_attention", "sliding_attention", "full_attention"]}]
MOE_OPTIONS = [{"norm_topk_prob": True}, {"norm_topk_prob": False}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [1]}, {"num_experts_per_tok": 1}]
GPT2 = {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 128, "n_positions": 96, "initializer_range": 0.3}
BLOOM = {"hidden_size": 64, "n_layer": 3, "n_head": 4, "vocab_size": 128, "initializer_range": 0.3}
OPT = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 80, "vocab_size": 128, "max_position_embeddings": 96,
       "word_embed_proj_dim": 64, "init_std": 0.3}
FALCON = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 128, "initializer_range": 0.3}
NEW = {"new_decoder_architecture": True, "num_kv_heads": 2}
BERT = {**BASE, "type_vocab_size": 2}
EVERYTHING = [{}, *TIED, *HEADS, *ROPES, *ACTIVATIONS]

# family: (class of its configuration, class of its model, what all cases have, cases)
FAMILIES = {
    "llama": ("LlamaConfig", "AutoModelForCausalLM", BASE, [*EVERYTHING, *HEAD_DIM, *BIAS, {"mlp_bias": True}, {"rms_norm_eps": 1e-2}]),
    "mistral": ("MistralConfig", "AutoModelForCausalLM", BASE, [*EVERYTHING, *HEAD_DIM, *WINDOWS]),
    "qwen2": ("Qwen2Config", "AutoModelForCausalLM", BASE, [*EVERYTHING, *QWEN_WINDOWS]),
    "qwen3": ("Qwen3Config", "AutoModelForCausalLM", {**BASE, "head_dim": 16}, [*EVERYTHING, *QWEN_WINDOWS, *HEAD_DIM, *BIAS]),
    "opt": ("OPTConfig", "AutoModelForCausalLM", OPT, [
        {}, *TIED, {"do_layer_norm_before": False}, {"word_embed_proj_dim": 32}, {"enable_bias": False}, {"_remove_final_layer_norm": True},
        {"activation_function": "gelu"}, {"do_layer_norm_before": False, "word_embed_proj_dim": 32}]),
    "bloom": ("BloomConfig", "AutoModelForCausalLM", BLOOM, [
        {}, *TIED, {"apply_residual_connection_post_layernorm": True}, {"n_head": 8}, {"n_head": 16}, {"layer_norm_epsilon": 1e-2}]),
    "falcon": ("FalconConfig", "AutoModelForCausalLM", FALCON, [
        {}, *TIED, {"bias": True}, {"alibi": True}, {"parallel_attn": False}, {"parallel_attn": False, "alibi": True, "bias": True},
        {"multi_query": False}, {"multi_query": False, "parallel_attn": False}, {"multi_query": False, "parallel_attn": False, "alibi": True},
        NEW, {**NEW, "alibi": True}, {**NEW, "num_ln_in_parallel_attn": 1}, {**NEW, "ffn_hidden_size": 100}, {**NEW, "bias": True},
        {**NEW, "multi_query": False}, {"activation": "relu"}, {"ffn_hidden_size": 100}, *ROPES[:5]]),
    "gpt2": ("GPT2Config", "AutoModelForCausalLM", GPT2, [
        {}, *TIED, {"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}, {"n_inner": 100}, {"activation_function": "relu"},
        {"reorder_and_upcast_attn": True}]),
    "gpt_neox": ("GPTNeoXConfig", "AutoModelForCausalLM", BASE, [
        {}, *TIED, {"use_parallel_residual": False}, {"attention_bias": False}, {"hidden_act": "relu"}, {"hidden_act": "gelu_fast"},
        {"rotary_pct": 1.0}, {"layer_norm_eps": 1e-2}, *ROPES[:5], *PART]),
    "phi3": ("Phi3Config", "AutoModelForCausalLM", {**BASE, "pad_token_id": 0}, [
        {}, *TIED, *HEADS, *WINDOWS, *PART, {"original_max_position_embeddings": 24, **ROPES[7]}, {"hidden_act": "gelu"}]),
    "gemma": ("GemmaConfig", "AutoModelForCausalLM", {**BASE, "head_dim": 16}, [
        {}, *TIED, *HEADS, *HEAD_DIM, *BIAS, {"hidden_activation": "gelu"}, *ROPES[:5],
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention is true")]),
    "gemma2": ("Gemma2Config", "AutoModelForCausalLM", {**BASE, "head_dim": 16, "sliding_window": 8}, [
        {}, *TIED, *HEADS, *HEAD_DIM, *BIAS, {"query_pre_attn_scalar": 24}, {"attn_logit_softcapping": None}, {"final_logit_softcapping": None},
        {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}, {"layer_types": ["full_attention"] * 3},
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention is true"), *ROPES[:5]]),
    "gemma3": ("Gemma3TextConfig", "AutoModelForCausalLM", {**BASE, "head_dim": 16, "sliding_window": 8}, [
        {}, *TIED, *HEADS, *HEAD_DIM, *BIAS, {"query_pre_attn_scalar": 24}, {"final_logit_softcapping": 3.0},
        {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, {"sliding_window_pattern": 2},
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention is true"),
        {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e5},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}}]),
    "starcoder2": ("Starcoder2Config", "AutoModelForCausalLM", BASE, [*EVERYTHING, *WINDOWS, {"use_bias": False}, {"norm_epsilon": 1e-2}]),
    "glm": ("GlmConfig", "AutoModelForCausalLM", {**BASE, "head_dim": 16, "pad_token_id": 0}, [{}, *TIED, *HEADS, *HEAD_DIM, *BIAS, *ROPES[:5], *PART]),
    "glm4": ("Glm4Config", "AutoModelForCausalLM", {**BASE, "head_dim": 16, "pad_token_id": 0}, [{}, *TIED, *HEADS, *HEAD_DIM, *BIAS, *ROPES[:5], *PART]),
    "helium": ("HeliumConfig", "AutoModelForCausalLM", {**BASE, "head_dim": 16}, [{}, *TIED, *HEADS, *BIAS, {"mlp_bias": True}, *ROPES[:5]]),
    "mixtral": ("MixtralConfig", "AutoModelForCausalLM", {**BASE, "num_local_experts": 6}, [
        {}, *TIED, *HEADS, *HEAD_DIM, *WINDOWS, ROPES[0], ROPES[1], ROPES[3], {"num_experts_per_tok": 1}, {"num_experts_per_tok": 6}]),
    "qwen2_moe": ("Qwen2MoeConfig", "AutoModelForCausalLM", {**BASE, **MOE, "shared_expert_intermediate_size": 40}, [
        {}, *TIED, *HEADS, *MOE_OPTIONS, *QWEN_WINDOWS, {"qkv_bias": False}, *ROPES[:5]]),
    "qwen3_moe": ("Qwen3MoeConfig", "AutoModelForCausalLM", {**BASE, **MOE, "head_dim": 16}, [
        {}, *TIED, *HEADS, *HEAD_DIM, *MOE_OPTIONS, *BIAS, *QWEN_WINDOWS[:3], *ROPES[:5]]),
    "deepseek_v2": ("DeepseekV2Config", "AutoModelForCausalLM", {**BASE, **LATENT}, [
        {}, *TIED, {"q_lora_rank": None}, {"topk_method": "greedy"}, {"topk_method": "group_limited_greedy"}, ({"norm_topk_prob": True}, "norm_topk_prob is true"),
        {"n_shared_experts": 1}, {"first_k_dense_replace": 0}, {"first_k_dense_replace": 3}, {"attention_bias": True}, *ROPES[:7]]),
    "deepseek_v3": ("DeepseekV3Config", "AutoModelForCausalLM", {**BASE, **LATENT}, [
        {}, *TIED, {"q_lora_rank": None}, {"norm_topk_prob": False}, {"n_group": 1, "topk_group": 1}, {"rope_interleave": False},
        {"n_shared_experts": 1}, {"first_k_dense_replace": 0}, {"first_k_dense_replace": 3}, {"attention_bias": True}, *ROPES[:7]]),
    "bert": ("BertConfig", "AutoModelForMaskedLM", BERT, [
        {}, *TIED, *ACTIVATIONS, {"type_vocab_size": 1}, {"layer_norm_eps": 1e-2}, ({"is_decoder": True}, "is_decoder is true"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is")]),
    "bert classifier": ("BertConfig", "AutoModelForSequenceClassification", BERT, [{}, {"num_labels": 5}, ({"is_decoder": True}, "is_decoder is true")]),
    "roberta": ("RobertaConfig", "AutoModelForMaskedLM", {**BERT, "pad_token_id": 1}, [{}, *TIED, *ACTIVATIONS, ({"pad_token_id": 3}, "pad_token_id is 3"), ({"is_decoder": True}, "is_decoder is true")]),
    "roberta classifier": ("RobertaConfig", "AutoModelForSequenceClassification", {**BERT, "pad_token_id": 1}, [{}, {"num_labels": 5}]),
}


def build(config_class, model_class, settings):
    """A random model; norms and biases are random too, so that one that is forgotten shows."""
    torch.manual_seed(7)
    config = getattr(transformers, config_class)(**settings)
    model = getattr(transformers, model_class).from_config(config).eval().float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.2 * torch.randn_like(p))
            elif "embed" not in name:
                p.copy_(torch.randn_like(p) * p.shape[-1] ** -0.5)
        for name, b in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                b.copy_(0.3 * torch.randn_like(b))
    return model


TOKENS = np.random.default_rng(3).integers(5, 120, 48)


@torch.no_grad()
def theirs(model):
    return model(torch.from_numpy(TOKENS[None])).logits.numpy()[0]


def difference(want, directory):
    """Of qz's logits from these, relative to the largest."""
    with qz.Model.open(directory) as opened:
        got = qz.Session(opened).logits(TOKENS)
    return float(np.abs(got - want).max() / np.abs(want).max())


def verdict(want, directory, refusal=None):
    """Whether the directory is computed, or refused, as it should be; and the words for it."""
    try:
        found = difference(want, directory)
        return refusal is None and found < 1e-4, f"{found:.1e}"
    except qz.Error as problem:
        return refusal is not None and refusal in str(problem), f"refused: {str(problem).rpartition('config.json: ')[2]}"


def without_each_key(model_class, directory):
    """(key, verdict) for each key that transformers does without."""
    path = pathlib.Path(directory) / "config.json"
    config = json.loads(path.read_text())
    for key in sorted(set(config) - {"architectures", "model_type", "dtype", "transformers_version"}):
        path.write_text(json.dumps({k: v for k, v in config.items() if k != key}))
        try:
            model = getattr(transformers, model_class).from_pretrained(directory, dtype=torch.float32).eval()
            want = theirs(model)
        except Exception:
            continue
        good, words = verdict(want, directory)
        refused = "missing tensors: " in words or "missing key" in words and key in words  # transformers makes such tensors up
        yield key, good or refused, words


def main(names):
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    results = []

    def tell(good, what, words):
        results.append(good)
        print(f"{'ok  ' if good else 'FAIL'} {what}: {words}", flush=True)

    for family in names or FAMILIES:
        config_class, model_class, base, options = FAMILIES[family]
        for option in options:
            option, refusal = option if isinstance(option, tuple) else (option, None)
            with tempfile.TemporaryDirectory() as directory:
                model = build(config_class, model_class, copy.deepcopy({**base, **option}))
                model.save_pretrained(directory)
                good, words = verdict(theirs(model), directory, refusal)
                tell(good, f"{family} {option}", words)
                if not option:
                    for key, good, words in without_each_key(model_class, directory):
                        tell(good, f"{family} without {key}", words)
    print(f"{len(results)} cases, {results.count(False)} failed")
    return not all(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
