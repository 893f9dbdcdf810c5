#include "run/shape.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "estimate/towers.h"
#include "estimate/weights.h"
#include "model/biases.h"
#include "model/layout.h"

namespace qz {
namespace {

int64_t number(const Json& config, const char* key) {
  const auto it = config.find(key);
  return it != config.end() && it->is_number_unsigned() && it->get<uint64_t>() < (1u << 24) ? it->get<int64_t>() : 0;
}

int64_t elements_of(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

// Sizes that the files have: every tensor belongs to a linear layer, to the embedding, or to the rest.
void from_headers(const Model& model, const std::string& embedding, ModelShape* s) {
  s->exact = true;
  for (const TensorInfo& t : model.checkpoint()->tensors()) {
    const size_t dot = t.name.rfind('.');
    const int64_t i = dot == std::string::npos ? -1 : model.find_module(std::string_view(t.name).substr(0, dot));
    // bitsandbytes' parts have names below the weight: "q_proj.weight.absmax"
    const size_t weight = t.name.find(".weight.");
    const int64_t below = weight == std::string::npos ? -1 : model.find_module(t.name.substr(0, weight));
    const int64_t module = i >= 0 ? i : below;
    if (module >= 0 && s->linears[static_cast<size_t>(module)].can_quantize &&
        (i < 0 || std::string_view(t.name).substr(dot + 1) != "bias")) {
      s->linears[static_cast<size_t>(module)].stored_bytes += t.bytes;
    } else if (t.name == embedding) {
      s->embedding = t.elements();
      s->embedding_bytes = t.bytes;
    } else {
      s->others += t.elements();
      s->other_bytes += t.bytes;
    }
  }
}

void from_config(const Model& model, const std::string& embedding, ModelShape* s) {
  const uint64_t bytes = dtype_bits(s->dtype) / 8;
  for (LinearShape& l : s->linears) {
    if (l.can_quantize) {
      l.stored_bytes = static_cast<uint64_t>(l.rows) * static_cast<uint64_t>(l.cols) * bytes;
    } else if (l.layer >= 0 || l.role == role_name(Role::kOther)) {
      s->others += l.rows * l.cols;  // a router, or what stands before a head, as from headers
    }
  }
  for (const NeededTensor& t : list_others(model.config(), model.arch()))
    (t.name == embedding ? s->embedding : s->others) += elements_of(t.shape);
  const Json& config = model.checkpoint()->config();
  for (const Module& m : model.modules())
    if (expects_bias(text_part(config), model.arch(), m)) s->others += m.rows;
  s->others += std::max<int64_t>(0, tower_parameters(config, s->hidden));
  s->embedding_bytes = static_cast<uint64_t>(s->embedding) * bytes;
  s->other_bytes = static_cast<uint64_t>(s->others) * bytes;
}

}  // namespace

ModelShape shape_of(const Model& model) {
  const ModelConfig& c = model.config();
  ModelShape s;
  s.layers = c.layers;
  s.hidden = c.hidden;
  s.heads = c.heads;
  s.kv_heads = c.kv_heads;
  s.head_dim = c.head_dim;
  s.value_dim = c.value_dim;
  s.intermediate = c.intermediate;
  s.vocab = c.vocab;
  s.max_seq = c.max_seq;
  s.window = c.window;
  s.gated = model.arch().mlp == MlpKind::kGated;
  s.tied = c.tied;
  s.dtype = is_float(c.dtype) ? c.dtype : DType::kF32;
  const Json& text = text_part(model.checkpoint()->config());
  s.latent = number(text, "kv_lora_rank");
  s.latent_rope = s.latent > 0 ? number(text, "qk_rope_head_dim") : 0;
  for (const Module& m : model.modules()) {
    LinearShape l;
    l.name = m.name;
    l.role = role_name(m.role);
    l.layer = m.layer;
    l.rows = m.rows;
    l.cols = m.cols;
    l.can_quantize = m.can_quantize && m.role != Role::kOther;
    s.linears.push_back(std::move(l));
    s.largest = std::max(s.largest, m.rows * m.cols);
  }
  const std::string embedding = std::string(model.arch().embed) + ".weight";
  if (model.checkpoint()->tensors().empty())
    from_config(model, embedding, &s);
  else
    from_headers(model, embedding, &s);
  s.largest = std::max(s.largest, s.embedding);
  return s;
}

Status store_plan(const Plan& plan, FormatId id, ModelShape* shape) {
  const FormatId format = id == FormatId::kDefault ? FormatId::kCompressed : id;
  QZ_ASSIGN(const std::vector<ModulePlan> modules, resolve_plan(plan, format, true));
  const PlanSummary summary = summarize_plan(*plan.model(), modules);
  for (size_t i = 0; i < modules.size(); i++) {
    LinearShape& l = shape->linears[i];
    if (modules[i].method == Method::kKeep) continue;
    const MatrixBytes bytes =
        layout_bytes(*find_format(format), modules[i].scheme, l.rows, l.cols, summary.modules[i].g_idx);
    l.stored_bytes = bytes.codes;
    l.stored_scales = bytes.scales;
  }
  return {};
}

}  // namespace qz
