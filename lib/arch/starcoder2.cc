// StarCoder2: layer norms, a plain GELU MLP, biases everywhere, a window in the smaller models.
#include "arch/tables.h"

namespace qz {

const ArchDesc kStarcoder2 = {.name = "starcoder2",
                              .hf_class = "Starcoder2ForCausalLM",
                              .model_type = "starcoder2",
                              .defaults = {R"({"num_key_value_heads": 2})"},
                              .up = "mlp.c_fc",
                              .down = "mlp.c_proj",
                              .biases = "q k v o up down",
                              .norm = NormKind::kLayer,
                              .mlp = MlpKind::kPlain,
                              .default_activation = "gelu_pytorch_tanh",
                              .default_eps = 1e-5,
                              .default_tied = true,
                              .keys = {.norm_eps = "norm_epsilon", .window = "sliding_window"}};

}  // namespace qz
