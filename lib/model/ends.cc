// The two ends of a model: tokens to residual stream, residual stream to logits.
#include <cassert>
#include <cmath>
#include <cstring>

#include "model/block.h"
#include "model/finite.h"
#include "model/layout.h"
#include "model/scratch.h"
#include "tensor/convert.h"

namespace qz {
namespace {

Result<Linear> load_projection(const Model& model, std::string_view name, int64_t rows, int64_t cols) {
  Linear linear;
  linear.rows = rows, linear.cols = cols;
  const TensorInfo* tensor = model.checkpoint()->find(std::string(name) + ".weight");
  assert(tensor != nullptr);  // checked at open
  QZ_ASSIGN(std::vector<uint8_t> bytes, read_finite(*model.checkpoint(), *tensor));
  linear.set_dense(std::move(bytes), tensor->dtype);
  QZ_ASSIGN(linear.bias, model.load_vector(std::string(name) + ".bias", rows, false));
  return linear;
}

}  // namespace

Result<Ends> Ends::load(const Model& model) {
  const ModelConfig& c = model.config();
  const ArchDesc& desc = model.arch();
  Ends ends;
  const TensorInfo* embed = model.checkpoint()->find(std::string(desc.embed) + ".weight");
  if (embed == nullptr) {
    return error(Code::kInvalidArgument, "%s: opened for its configuration only", model.checkpoint()->dir().c_str());
  }
  QZ_ASSIGN(ends.embed_, read_finite(*model.checkpoint(), *embed));
  ends.embed_dtype_ = embed->dtype;
  ends.embed_rows_ = embed->shape[0];
  if (const int64_t rows = position_rows(c, desc); rows > 0) {
    QZ_ASSIGN(const std::vector<float> table,
              model.load_vector(std::string(desc.positions) + ".weight", rows * c.hidden, true));
    ends.positions_ = Matrix(rows, c.hidden);
    std::memcpy(ends.positions_.data(), table.data(), table.size() * sizeof(float));
  }
  if (!desc.embed_norm.empty()) {
    QZ_ASSIGN(ends.embed_norm_, load_norm(model, std::string(desc.embed_norm), c.hidden));
  }
  if (!desc.token_types.empty()) {
    QZ_ASSIGN(const std::vector<float> table,
              model.load_vector(std::string(desc.token_types) + ".weight", c.token_types * c.hidden, true));
    ends.token_type_.assign(table.begin(), table.begin() + c.hidden);
  }
  if (c.embed_dim != c.hidden) {
    QZ_ASSIGN(ends.project_in_, load_projection(model, desc.project_in, c.hidden, c.embed_dim));
    QZ_ASSIGN(ends.project_out_, load_projection(model, desc.project_out, c.embed_dim, c.hidden));
  }
  if (c.final_norm) {
    QZ_ASSIGN(ends.final_norm_, load_norm(model, std::string(desc.final_norm), c.hidden));
  }
  const auto load_named = [&](std::string_view name, Linear* out) -> Status {
    const int64_t module = name.empty() ? -1 : model.find_module(name);
    if (module < 0) return {};
    QZ_ASSIGN(*out, load_linear(model, static_cast<size_t>(module)));
    return {};
  };
  QZ_TRY(load_named(desc.head_dense, &ends.head_dense_));
  QZ_TRY(load_named(desc.pooler, &ends.pooler_));
  if (!desc.head_norm.empty()) {
    QZ_ASSIGN(ends.head_norm_, load_norm(model, std::string(desc.head_norm), c.hidden));
  }
  if (!desc.head_bias.empty() && c.tied) {
    QZ_ASSIGN(ends.head_bias_, model.load_vector(std::string(desc.head_bias), c.vocab, true));
  }
  if (!c.tied) {
    QZ_ASSIGN(ends.head_, load_linear(model, model.modules().size() - 1));
    QZ_TRY(ends.head_.tile(model.context()));
  }
  return ends;
}

Status Ends::check_positions(const Model& model, const Sequences& sequences) const {
  for (int64_t s = 0; s < sequences.count() && !positions_.empty(); ++s) {
    const int64_t last = sequences.first_position(s) + sequences.length(s) + model.arch().position_offset;
    if (last > positions_.rows()) {
      return error(Code::kInvalidArgument, "sequence %lld ends at position %lld, the model has %lld positions",
                   static_cast<long long>(s), static_cast<long long>(last - model.arch().position_offset),
                   static_cast<long long>(model.config().max_seq));
    }
  }
  return {};
}

Status Ends::embed(const Model& model, const Sequences& sequences, const int32_t* ids, float* r) const {
  const ModelConfig& c = model.config();
  const size_t row_bytes = static_cast<size_t>(c.embed_dim) * dtype_bits(embed_dtype_) / 8;
  Scratch narrow(project_in_.present() ? sequences.rows() * c.embed_dim : 0);
  float* out = project_in_.present() ? narrow.data() : r;
  for (int64_t s = 0; s < sequences.count(); ++s) {
    const int64_t begin = sequences.start[static_cast<size_t>(s)];
    for (int64_t i = begin; i < begin + sequences.length(s); ++i) {
      if (ids[i] < 0 || ids[i] >= embed_rows_) {
        return error(Code::kInvalidArgument,
                     "sequence %lld, position %lld: token id %d is outside the vocabulary of %lld",
                     static_cast<long long>(s), static_cast<long long>(sequences.first_position(s) + i - begin), ids[i],
                     static_cast<long long>(embed_rows_));
      }
      to_f32(embed_.data() + static_cast<size_t>(ids[i]) * row_bytes, embed_dtype_, static_cast<size_t>(c.embed_dim),
             out + i * c.embed_dim);
    }
  }
  if (c.embed_scale != 1) {
    for (int64_t i = 0; i < sequences.rows() * c.embed_dim; ++i) out[i] *= static_cast<float>(c.embed_scale);
  }
  return place(model, sequences, out, r);
}

Status Ends::embed_rows(const Model& model, const Sequences& sequences, const float* x, float* r) const {
  const int64_t size = sequences.rows() * model.config().embed_dim;
  if (!project_in_.present()) {
    std::memcpy(r, x, static_cast<size_t>(size) * sizeof(float));
    return place(model, sequences, r, r);
  }
  Scratch narrow(size);
  std::memcpy(narrow.data(), x, static_cast<size_t>(size) * sizeof(float));
  return place(model, sequences, narrow.data(), r);
}

Status Ends::place(const Model& model, const Sequences& sequences, float* x, float* r) const {
  const ModelConfig& c = model.config();
  QZ_TRY(check_positions(model, sequences));
  if (project_in_.present()) {
    QZ_TRY(project_in_.apply(model.context(), {x, sequences.rows(), c.embed_dim, c.embed_dim}, false, r));
  }
  for (int64_t s = 0; s < sequences.count() && !positions_.empty(); ++s) {
    const int64_t begin = sequences.start[static_cast<size_t>(s)];
    for (int64_t i = begin; i < begin + sequences.length(s); ++i) {
      const float* p = positions_.row(sequences.first_position(s) + i - begin + model.arch().position_offset);
      for (int64_t d = 0; d < c.hidden; ++d) r[i * c.hidden + d] += p[d];
    }
  }
  for (int64_t i = 0; i < sequences.rows() && !token_type_.empty(); ++i) {
    for (int64_t d = 0; d < c.hidden; ++d) r[i * c.hidden + d] += token_type_[static_cast<size_t>(d)];
  }
  if (embed_norm_.weight.empty()) return {};
  return norm_rows(model, embed_norm_, {r, sequences.rows(), c.hidden, c.hidden}, r);
}

Status Ends::head_input(const Model& model, MatrixView r, float* x, Progress* progress) const {
  const ModelConfig& c = model.config();
  const Context& context = model.context();
  if (project_out_.present()) {
    Scratch normed(r.rows * c.hidden);
    QZ_TRY(norm_rows(model, final_norm_, r, normed.data()));
    return project_out_.apply(context, normed.view(r.rows, c.hidden), false, x, progress);
  }
  QZ_TRY(norm_rows(model, final_norm_, r, x));
  const Linear& dense = pooler_.present() ? pooler_ : head_dense_;
  if (!dense.present()) return {};
  Scratch y(r.rows * c.hidden);
  QZ_TRY(dense.apply(context, {x, r.rows, c.hidden, c.hidden}, false, y.data(), progress));
  QZ_TRY(for_rows(context, r.rows, [&](int64_t first, int64_t end) {
    float* out = y.data() + first * c.hidden;
    const int64_t n = (end - first) * c.hidden;
    if (!pooler_.present()) return activate(c.head_activation, out, n, out);
    for (int64_t i = 0; i < n; ++i) out[i] = std::tanh(out[i]);
  }));
  return norm_rows(model, head_norm_, y.view(r.rows, c.hidden), x);
}

Status Ends::logits(const Model& model, MatrixView r, float* logits, Progress* progress) const {
  const ModelConfig& c = model.config();
  const Context& context = model.context();
  Scratch input(r.rows * c.embed_dim);
  QZ_TRY(head_input(model, r, input.data(), progress));
  const MatrixView x = input.view(r.rows, c.embed_dim);
  if (head_.present()) {
    QZ_TRY(head_.apply(context, x, false, logits, progress));
  } else {
    const DenseWeight tied{embed_.data(), embed_dtype_, embed_rows_, c.embed_dim};
    const float* bias = head_bias_.empty() ? nullptr : head_bias_.data();
    QZ_TRY(gemm_nt(context, x, weight_rows(tied), bias, false, logits, embed_rows_, progress));
  }
  if (c.logit_cap == 0) return {};
  const auto cap = static_cast<float>(c.logit_cap);
  return for_rows(context, r.rows, [&](int64_t first, int64_t end) {
    for (int64_t i = first * embed_rows_; i < end * embed_rows_; ++i) logits[i] = cap * std::tanh(logits[i] / cap);
  });
}

}  // namespace qz
