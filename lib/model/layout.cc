#include "model/layout.h"

namespace qz {

std::string in_layer(const ArchDesc& desc, int64_t layer, std::string_view part) {
  std::string name(desc.layer);
  if (const size_t slot = name.find("{}"); slot != std::string::npos) name.replace(slot, 2, std::to_string(layer));
  return name.append(".").append(part);
}

std::vector<Module> list_modules(const ModelConfig& c, const ArchDesc& desc) {
  const int64_t q_width = c.heads * c.head_dim, k_width = c.kv_heads * c.head_dim, v_width = c.kv_heads * c.value_dim;
  const bool fused = !desc.qkv.empty(), fused_up = !desc.gate_up.empty();
  struct Row {
    bool there;
    std::string_view name;
    Role role;
    int64_t rows, cols;
  };
  const Row rows[] = {{!fused, desc.q, Role::kQ, q_width, c.hidden},
                      {!fused, desc.k, Role::kK, k_width, c.hidden},
                      {!fused, desc.v, Role::kV, v_width, c.hidden},
                      {fused, desc.qkv, Role::kQkv, q_width + k_width + v_width, c.hidden},
                      {true, desc.o, Role::kO, c.hidden, c.heads * c.value_dim},
                      {!fused_up && desc.mlp == MlpKind::kGated, desc.gate, Role::kGate, c.intermediate, c.hidden},
                      {!fused_up, desc.up, Role::kUp, c.intermediate, c.hidden},
                      {fused_up, desc.gate_up, Role::kGateUp, 2 * c.intermediate, c.hidden},
                      {true, desc.down, Role::kDown, c.hidden, c.intermediate}};
  std::vector<Module> modules;
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    for (const Row& row : rows) {
      if (!row.there) continue;
      modules.push_back({in_layer(desc, layer, row.name), row.role, layer, row.rows, row.cols, true, desc.transposed});
    }
  }
  modules.push_back({std::string(desc.head), Role::kHead, -1, c.vocab, c.embed_dim, !c.tied, false});
  return modules;
}

int64_t position_rows(const ModelConfig& c, const ArchDesc& desc) {
  return c.position == PositionKind::kLearned ? c.max_seq + desc.position_offset : 0;
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
  if (!desc.embed_norm.empty()) add_norm(std::string(desc.embed_norm), c.embed_dim);
  if (c.embed_dim != c.hidden) {
    add(std::string(desc.project_in), {c.hidden, c.embed_dim});
    add(std::string(desc.project_out), {c.embed_dim, c.hidden});
  }
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    for (std::string_view norm : {desc.attn_norm, desc.attn_post_norm, desc.mlp_norm, desc.mlp_post_norm}) {
      if (!norm.empty()) add_norm(in_layer(desc, layer, norm), c.hidden);
    }
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
