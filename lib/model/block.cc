#include "model/block.h"

#include <algorithm>
#include <cassert>

#include "model/layout.h"
#include "model/scratch.h"

namespace qz {

Linear& Block::at(Role role) {
  switch (role) {
    case Role::kQ:
      return q;
    case Role::kK:
      return k;
    case Role::kV:
      return v;
    case Role::kQkv:
      return qkv;
    case Role::kQA:
      return q_a;
    case Role::kQB:
      return q_b;
    case Role::kKvA:
      return kv_a;
    case Role::kKvB:
      return kv_b;
    case Role::kO:
      return o;
    case Role::kRouter:
      return router;
    case Role::kSharedScale:
      return shared_scale;
    default:
      return mlp.at(role);
  }
}

Linear& Feed::at(Role role) {
  switch (role) {
    case Role::kGate:
      return gate;
    case Role::kUp:
      return up;
    case Role::kGateUp:
      return gate_up;
    default:
      assert(role == Role::kDown);
      return down;
  }
}

Result<Linear> load_linear(const Model& model, size_t module) {
  const Module& m = model.modules()[module];
  Linear linear;
  linear.rows = m.rows, linear.cols = m.cols;
  QZ_ASSIGN(linear.bias, model.load_bias(module));
  if (model.quantized(module)) {
    QZ_ASSIGN(std::shared_ptr<const QMatrix> matrix, model.load_matrix(module));
    linear.set_matrix(std::move(matrix));
    return linear;
  }
  DType dtype = DType::kNone;
  QZ_ASSIGN(std::vector<uint8_t> bytes, model.read_weight(module, &dtype));
  linear.set_dense(std::move(bytes), dtype);
  return linear;
}

Result<NormWeights> load_norm(const Model& model, const std::string& name, int64_t width) {
  NormWeights norm;
  QZ_ASSIGN(norm.weight, model.load_vector(name + ".weight", width, true));
  for (float& w : norm.weight) w += static_cast<float>(model.arch().norm_offset);
  if (model.arch().norm == NormKind::kLayer) {
    QZ_ASSIGN(norm.bias, model.load_vector(name + ".bias", width, true));
  }
  return norm;
}

Result<Block> load_block(const Model& model, int64_t layer, Experts experts) {
  const ModelConfig& config = model.config();
  const ArchDesc& desc = model.arch();
  if (model.checkpoint()->tensors().empty()) {
    return error(Code::kInvalidArgument, "%s: opened for its configuration only", model.checkpoint()->dir().c_str());
  }
  Block block;
  block.layer = layer;
  struct Place {
    std::string_view name;
    NormWeights* norm;
  };
  for (const Place& part : {Place{desc.attn_norm, &block.attn_norm}, Place{desc.attn_post_norm, &block.attn_post_norm},
                            Place{desc.mlp_norm, &block.mlp_norm}, Place{desc.mlp_post_norm, &block.mlp_post_norm}}) {
    if (part.name.empty()) continue;
    QZ_ASSIGN(*part.norm, load_norm(model, in_layer(desc, layer, part.name), config.hidden));
  }
  if (config.parallel && desc.mlp_norm.empty()) block.mlp_norm = block.attn_norm;
  for (const Place& part : {Place{desc.q_norm, &block.q_norm}, Place{desc.k_norm, &block.k_norm}}) {
    if (part.name.empty()) continue;
    const std::string name = in_layer(desc, layer, part.name) + ".weight";
    QZ_ASSIGN(part.norm->weight, model.load_vector(name, config.head_dim, true));
    for (float& w : part.norm->weight) w += static_cast<float>(desc.norm_offset);
  }
  const auto vector = [&](std::string_view name, int64_t width, std::vector<float>* out) -> Status {
    QZ_ASSIGN(*out, model.load_vector(in_layer(desc, layer, name) + ".weight", width, true));
    return {};
  };
  if (config.latent.kv_rank > 0) QZ_TRY(vector(desc.kv_a_norm, config.latent.kv_rank, &block.kv_a_norm));
  if (config.latent.q_rank > 0) QZ_TRY(vector(desc.q_a_norm, config.latent.q_rank, &block.q_a_norm));
  const auto [first, end] = model.block_modules(layer);
  for (size_t i = first; i < end; ++i) {
    const Module& m = model.modules()[i];
    if (m.expert < 0) {
      QZ_ASSIGN(block.at(m.role), load_linear(model, i));
    } else if (experts == Experts::kInMemory) {
      block.experts.resize(static_cast<size_t>(config.moe.experts));
      QZ_ASSIGN(block.experts[static_cast<size_t>(m.expert)].at(m.role), load_linear(model, i));
    }
  }
  if (block.mixture() && !desc.router_bias.empty()) {
    const std::string name = in_layer(desc, layer, desc.router_bias);
    QZ_ASSIGN(block.router_bias, model.load_vector(name, config.moe.experts, true));
  }
  return block;
}

Status tile_linears(const Context& context, Block* block) {
  for (size_t role = 0; role < static_cast<size_t>(Role::kOther); ++role) {  // the last two are outside of blocks
    QZ_TRY(block->at(static_cast<Role>(role)).tile(context));
  }
  for (Feed& expert : block->experts) {
    for (const Role role : {Role::kGate, Role::kUp, Role::kGateUp, Role::kDown}) {
      QZ_TRY(expert.at(role).tile(context));
    }
  }
  return {};
}

namespace {

Status forward_rows(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                    LayerCache* cache, float* r, Progress* progress) {
  const ModelConfig& c = model.config();
  const int64_t rows = sequences.rows();
  const MatrixView stream{r, rows, c.hidden, c.hidden};
  const int64_t width = block.o.cols, inner = block.mlp.down.cols;
  Scratch x(rows * c.hidden), y(c.parallel ? rows * c.hidden : 0), m(rows * std::max(width, inner));
  const MatrixView xv = x.view(rows, c.hidden), yv = c.parallel ? y.view(rows, c.hidden) : xv;
  float* mlp_x = c.parallel ? y.data() : x.data();
  QZ_TRY(attention_input(model, block, stream, x.data()));
  if (c.parallel) QZ_TRY(mlp_input(model, block, stream, mlp_x));
  QZ_TRY(attention_mix(model, block, rope, sequences, xv, cache, m.data(), progress));
  QZ_TRY(attention_output(model, block, m.view(rows, width), r, progress));
  if (!c.parallel) QZ_TRY(mlp_input(model, block, stream, mlp_x));
  if (inner > 0) QZ_TRY(mlp_mix(model, block, yv, m.data(), progress));
  return mlp_output(model, block, yv, m.view(rows, inner), r, progress);
}

}  // namespace

Status block_forward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     LayerCache* cache, float* r, Progress* progress) {
  if (cache != nullptr) return forward_rows(model, block, rope, sequences, cache, r, progress);
  // A few whole sequences at a time, so that the scratch does not grow with the number of tokens.
  for (int64_t i = 0, end = 0; i < sequences.count(); i = end) {
    end = chunk_end(sequences, i);
    const int64_t base = sequences.start[static_cast<size_t>(i)];
    Sequences part;
    for (int64_t j = i; j <= end; ++j) part.start.push_back(sequences.start[static_cast<size_t>(j)] - base);
    for (int64_t j = i; j < end; ++j) part.first.push_back(sequences.first_position(j));
    QZ_TRY(forward_rows(model, block, rope, part, nullptr, r + base * model.config().hidden, progress));
  }
  return {};
}

}  // namespace qz
