#include "model/layout.h"

namespace qz {

std::string with_number(std::string_view pattern, int64_t number) {
  std::string name(pattern);
  if (const size_t slot = name.find("{}"); slot != std::string::npos) name.replace(slot, 2, std::to_string(number));
  return name;
}

std::string in_layer(const ArchDesc& desc, int64_t layer, std::string_view part) {
  return with_number(desc.layer, layer).append(".").append(part);
}

namespace {

class ModuleList {
 public:
  ModuleList(const ModelConfig& config, const ArchDesc& desc) : c_(config), desc_(desc) {}

  std::vector<Module> make() {
    for (int64_t layer = 0; layer < c_.layers; ++layer) {
      layer_ = layer;
      add_attention();
      if (c_.moe.experts > 0 && c_.moe.layers[static_cast<size_t>(layer)] != 0) {
        add_mixture();
      } else {
        add_mlp();
      }
    }
    Module head;
    head.name = desc_.head;
    head.role = Role::kHead;
    head.rows = c_.outputs, head.cols = c_.embed_dim;
    head.can_quantize = !c_.tied;
    modules_.push_back(std::move(head));
    return std::move(modules_);
  }

 private:
  Module& add(std::string_view name, Role role, int64_t rows, int64_t cols) {
    Module m;
    m.name = in_layer(desc_, layer_, name);
    m.role = role;
    m.layer = layer_;
    m.rows = rows, m.cols = cols;
    m.transposed = desc_.transposed;
    return modules_.emplace_back(std::move(m));
  }

  void add_attention() {
    const int64_t q = c_.heads * c_.head_dim, k = c_.kv_heads * c_.head_dim, v = c_.kv_heads * c_.value_dim;
    const LatentConfig& latent = c_.latent;
    if (latent.kv_rank > 0) {
      if (latent.q_rank > 0) {
        add(desc_.q_a, Role::kQA, latent.q_rank, c_.hidden);
        add(desc_.q_b, Role::kQB, q, latent.q_rank);
      } else {
        add(desc_.q, Role::kQ, q, c_.hidden);
      }
      add(desc_.kv_a, Role::kKvA, latent.kv_rank + latent.rope, c_.hidden);
      add(desc_.kv_b, Role::kKvB, c_.heads * (latent.plain + c_.value_dim), latent.kv_rank);
    } else if (desc_.qkv.empty()) {
      add(desc_.q, Role::kQ, q, c_.hidden);
      add(desc_.k, Role::kK, k, c_.hidden);
      add(desc_.v, Role::kV, v, c_.hidden);
    } else {
      add(desc_.qkv, Role::kQkv, q + k + v, c_.hidden);
    }
    add(desc_.o, Role::kO, c_.hidden, c_.heads * c_.value_dim);
  }

  void add_mlp() {
    if (desc_.gate_up.empty()) {
      if (desc_.mlp == MlpKind::kGated) add(desc_.gate, Role::kGate, c_.intermediate, c_.hidden);
      add(desc_.up, Role::kUp, c_.intermediate, c_.hidden);
    } else {
      add(desc_.gate_up, Role::kGateUp, 2 * c_.intermediate, c_.hidden);
    }
    add(desc_.down, Role::kDown, c_.hidden, c_.intermediate);
  }

  // The router and the shared expert's gate are small and decide much: no plan quantizes them.
  void add_mixture() {
    const MoeConfig& moe = c_.moe;
    add(desc_.router, Role::kRouter, moe.experts, c_.hidden).can_quantize = false;
    if (moe.shared_width > 0) {
      add(desc_.shared_gate, Role::kGate, moe.shared_width, c_.hidden);
      add(desc_.shared_up, Role::kUp, moe.shared_width, c_.hidden);
      add(desc_.shared_down, Role::kDown, c_.hidden, moe.shared_width);
      if (!desc_.shared_scale.empty()) {
        add(desc_.shared_scale, Role::kSharedScale, 1, c_.hidden).can_quantize = false;
      }
    }
    for (int64_t e = 0; e < moe.experts; ++e) {
      add(with_number(desc_.expert_gate, e), Role::kGate, moe.width, c_.hidden).expert = e;
      add(with_number(desc_.expert_up, e), Role::kUp, moe.width, c_.hidden).expert = e;
      add(with_number(desc_.expert_down, e), Role::kDown, c_.hidden, moe.width).expert = e;
    }
  }

  const ModelConfig& c_;
  const ArchDesc& desc_;
  int64_t layer_ = 0;
  std::vector<Module> modules_;
};

}  // namespace

std::vector<Module> list_modules(const ModelConfig& config, const ArchDesc& desc) {
  return ModuleList(config, desc).make();
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
  if (!desc.token_types.empty()) add(std::string(desc.token_types), {c.token_types, c.hidden});
  if (!desc.embed_norm.empty()) add_norm(std::string(desc.embed_norm), c.hidden);
  if (c.embed_dim != c.hidden) {
    add(std::string(desc.project_in), {c.hidden, c.embed_dim});
    add(std::string(desc.project_out), {c.embed_dim, c.hidden});
  }
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    for (std::string_view norm : {desc.attn_norm, desc.attn_post_norm, desc.mlp_norm, desc.mlp_post_norm}) {
      if (!norm.empty()) add_norm(in_layer(desc, layer, norm), c.hidden);
    }
    if (!desc.router_bias.empty() && c.moe.layers[static_cast<size_t>(layer)] != 0) {
      list.push_back({in_layer(desc, layer, desc.router_bias), {c.moe.experts}});
    }
    if (c.latent.kv_rank > 0) add(in_layer(desc, layer, desc.kv_a_norm), {c.latent.kv_rank});
    if (c.latent.q_rank > 0) add(in_layer(desc, layer, desc.q_a_norm), {c.latent.q_rank});
    // RMS norms over each head, whatever the kind of the block's norms.
    if (!desc.q_norm.empty()) add(in_layer(desc, layer, desc.q_norm), {c.head_dim});
    if (!desc.k_norm.empty()) add(in_layer(desc, layer, desc.k_norm), {c.head_dim});
  }
  if (c.final_norm) add_norm(std::string(desc.final_norm), c.hidden);
  if (!desc.head_norm.empty()) add_norm(std::string(desc.head_norm), c.hidden);
  if (!desc.head_bias.empty() && c.tied) list.push_back({std::string(desc.head_bias), {c.vocab}});
  return list;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace qz
