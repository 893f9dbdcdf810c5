// Mistral 7B: Llama with sliding attention.
#include "arch/tables.h"

namespace qz {

const ArchDesc kMistral = {.name = "mistral",
                           .hf_class = "MistralForCausalLM",
                           .model_type = "mistral",
                           .default_window = 4096,
                           .keys = {.window = "sliding_window"}};

}  // namespace qz
