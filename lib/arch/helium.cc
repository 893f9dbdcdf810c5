// Helium: Llama whose rotating dimensions are neighbours.
#include "arch/tables.h"

namespace qz {

const ArchDesc kHelium = {.name = "helium",
                          .hf_class = "HeliumForCausalLM",
                          .model_type = "helium",
                          .defaults = {R"({"rope_theta": 100000, "head_dim": 128})"},
                          .rope_pairs = RopePairs::kNeighbours,
                          .default_eps = 1e-8};

}  // namespace qz
