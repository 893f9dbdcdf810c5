// Phi-3 and Phi-4: Llama with q, k, v in one layer and gate, up in another.
#include "arch/tables.h"

namespace qz {

const ArchDesc kPhi3 = {.name = "phi3",
                        .hf_class = "Phi3ForCausalLM",
                        .model_type = "phi3",
                        .qkv = "self_attn.qkv_proj",
                        .gate_up = "mlp.gate_up_proj",
                        .default_eps = 1e-5,
                        .keys = {.window = "sliding_window"}};

}  // namespace qz
