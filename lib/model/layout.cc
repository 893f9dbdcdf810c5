#include "model/layout.h"

namespace qz {

std::string in_layer(const ArchDesc& desc, int64_t layer, std::string_view part) {
  std::string name(desc.layer);
  if (const size_t slot = name.find("{}"); slot != std::string::npos) name.replace(slot, 2, std::to_string(layer));
  return name.append(".").append(part);
}

std::vector<Module> list_modules(const ModelConfig& c, const ArchDesc& desc) {
  const int64_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  struct Row {
    std::string_view name;
    Role role;
    int64_t rows, cols;
  };
  const Row rows[] = {{desc.q, Role::kQ, q_width, c.hidden},
                      {desc.k, Role::kK, kv_width, c.hidden},
                      {desc.v, Role::kV, kv_width, c.hidden},
                      {desc.o, Role::kO, c.hidden, q_width},
                      {desc.mlp == MlpKind::kGated ? desc.gate : "", Role::kGate, c.intermediate, c.hidden},
                      {desc.up, Role::kUp, c.intermediate, c.hidden},
                      {desc.down, Role::kDown, c.hidden, c.intermediate}};
  std::vector<Module> modules;
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    for (const Row& row : rows) {
      if (row.name.empty()) continue;
      modules.push_back({in_layer(desc, layer, row.name), row.role, layer, row.rows, row.cols, true});
    }
  }
  modules.push_back({std::string(desc.head), Role::kHead, -1, c.vocab, c.embed_dim, !c.tied});
  return modules;
}

int64_t position_rows(const ModelConfig& c, const ArchDesc& desc) {
  return desc.position == PositionKind::kLearned ? c.max_seq + desc.position_offset : 0;
}

std::vector<NeededTensor> list_others(const ModelConfig& c, const ArchDesc& desc) {
  std::vector<NeededTensor> list;
  const auto add = [&](std::string name, std::vector<int64_t> shape) {
    list.push_back({std::move(name) + ".weight", std::move(shape)});
  };
  const auto add_norm = [&](const std::string& name, int64_t width) {
    list.push_back({name + ".weight", {width}});
    if (desc.norm == NormKind::kLayer) list.push_back({name + ".bias", {width}});
  };
  add(std::string(desc.embed), {c.vocab, c.embed_dim});
  if (const int64_t rows = position_rows(c, desc); rows > 0) add(std::string(desc.positions), {rows, c.hidden});
  if (c.embed_dim != c.hidden) {
    add(std::string(desc.project_in), {c.hidden, c.embed_dim});
    add(std::string(desc.project_out), {c.embed_dim, c.hidden});
  }
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    add_norm(in_layer(desc, layer, desc.attn_norm), c.hidden);
    add_norm(in_layer(desc, layer, desc.mlp_norm), c.hidden);
    // RMS norms over each head, whatever the kind of the block's norms.
    if (!desc.q_norm.empty()) add(in_layer(desc, layer, desc.q_norm), {c.head_dim});
    if (!desc.k_norm.empty()) add(in_layer(desc, layer, desc.k_norm), {c.head_dim});
  }
  if (c.final_norm) add_norm(std::string(desc.final_norm), c.hidden);
  return list;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace qz
