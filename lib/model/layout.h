// Which tensors a model of this configuration has: linear layers (modules) and the rest, with shapes, before any file
// is looked at.
#pragma once
#include <string>
#include <vector>

#include "arch/desc.h"
#include "model/config.h"
#include "model/model.h"

namespace qz {

// "model.layers.3." + part
std::string in_layer(const ArchDesc& desc, int64_t layer, std::string_view part);

// "mlp.experts.{}.up_proj" -> "mlp.experts.7.up_proj"
std::string with_number(std::string_view name, int64_t number);

// Linear layers in the order of the forward pass, the head last.
std::vector<Module> list_modules(const ModelConfig& config, const ArchDesc& desc);

struct NeededTensor {
  std::string name;  // full: "model.norm.weight"
  std::vector<int64_t> shape;
};
// Everything that is not a module: embedding, positions, norms, projections. All are required.
std::vector<NeededTensor> list_others(const ModelConfig& config, const ArchDesc& desc);

// Rows of the learned position table; 0: rotary positions.
int64_t position_rows(const ModelConfig& config, const ArchDesc& desc);

std::string shape_text(const std::vector<int64_t>& shape);  // "[4096, 256]"

}  // namespace qz
