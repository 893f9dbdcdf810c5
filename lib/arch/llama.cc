// Llama 1 to 3, Vicuna and the many others that use the class: RMS norms, rotary positions, gated SiLU. It is what a
// description says when it says nothing, so the table only gives the names.
#include "arch/tables.h"

namespace qz {

const ArchDesc kLlama = {.name = "llama", .hf_class = "LlamaForCausalLM", .model_type = "llama"};

}  // namespace qz
