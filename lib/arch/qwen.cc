// Qwen2 and Qwen2.5: Llama with biases on q, k, v (the file says so) and a window that is off unless use_sliding_window
// is true. Qwen3: no biases, but an RMS norm over each head of q and k.
#include "arch/tables.h"

namespace qz {

const ArchDesc kQwen2 = {.name = "qwen2",
                         .hf_class = "Qwen2ForCausalLM",
                         .model_type = "qwen2",
                         .biases = "q k v",
                         .keys = {.window = "sliding_window", .use_window = "use_sliding_window"}};

const ArchDesc kQwen3 = {.name = "qwen3",
                         .hf_class = "Qwen3ForCausalLM",
                         .model_type = "qwen3",
                         .q_norm = "self_attn.q_norm",
                         .k_norm = "self_attn.k_norm",
                         .keys = {.window = "sliding_window", .use_window = "use_sliding_window"}};

}  // namespace qz
