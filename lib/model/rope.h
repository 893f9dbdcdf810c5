// Rotary positions: what the configuration says about them. The tables are made by make_rope_table (model/block.h).
#pragma once
#include <string>

#include "model/config.h"
#include "model/config_reader.h"

namespace qz {

// Fills config->rope and config->local_rope (and expects hidden, heads, head_dim, max_seq to be there) from
// "rope_parameters" (transformers 5; may hold one object a type of layer) or "rope_theta" + "rope_scaling"
// (transformers 4), whose kind is "rope_type" or, in old files, "type".
void read_rope(const Context& context, ConfigReader* reader, const ArchDesc& desc, const std::string& file,
               ModelConfig* config);

// YaRN's m, by which DeepSeek also multiplies the scores: 0.1 mscale log(factor) + 1.
double yarn_mscale(double factor, double mscale);

// Dimensions of a head that rotate: the first, or, with latent attention, the last.
int64_t rotary_dim(const ModelConfig& config);

}  // namespace qz
