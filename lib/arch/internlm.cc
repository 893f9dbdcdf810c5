// InternLM2: Llama with q, k and v fused by groups and names of its own. InternLM3 is Llama, with biases where its
// configuration says so.
#include "arch/tables.h"

namespace qz {

const ArchDesc kInternlm2 = {.name = "internlm2",
                             .hf_class = "InternLM2ForCausalLM",
                             .model_type = "internlm2",
                             .embed = "model.tok_embeddings",
                             .head = "output",
                             .attn_norm = "attention_norm",
                             .mlp_norm = "ffn_norm",
                             .o = "attention.wo",
                             .qkv = "attention.wqkv",
                             .gate = "feed_forward.w1",
                             .up = "feed_forward.w3",
                             .down = "feed_forward.w2",
                             .qkv_order = QkvOrder::kGrouped};

const ArchDesc kInternlm3 = {.name = "internlm3", .hf_class = "InternLM3ForCausalLM", .model_type = "internlm3"};

}  // namespace qz
