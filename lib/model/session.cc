#include "model/session.h"

#include <algorithm>
#include <cstring>

#include "model/scratch.h"

namespace qz {
namespace {

constexpr int64_t kLogitRows = 256;  // rows of logits computed at once

}  // namespace

Result<std::unique_ptr<Session>> Session::create(ModelPtr model, int64_t max_seq, int64_t batch) {
  const ModelConfig& config = model->config();
  if (max_seq < 0 || batch < 1) {
    return error(Code::kInvalidArgument, "a session needs max_seq >= 0 and batch >= 1, found %lld and %lld",
                 static_cast<long long>(max_seq), static_cast<long long>(batch));
  }
  if (max_seq == 0) max_seq = config.max_seq;
  if (config.position == PositionKind::kLearned && max_seq > config.max_seq) {
    return error(Code::kInvalidArgument, "max_seq %lld is beyond the %lld learned positions of the model",
                 static_cast<long long>(max_seq), static_cast<long long>(config.max_seq));
  }
  std::unique_ptr<Session> session(new Session);
  session->model_ = std::move(model);
  session->max_seq_ = max_seq;
  session->batch_ = batch;
  QZ_ASSIGN(Ends ends, Ends::load(*session->model_));
  session->ends_ = std::make_unique<Ends>(std::move(ends));
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    QZ_ASSIGN(Block block, load_block(*session->model_, layer));
    QZ_TRY(tile_linears(session->model_->context(), &block));
    session->blocks_.push_back(std::move(block));
    session->cache_.emplace_back().slots = batch * config.kv_heads;
  }
  return session;
}

void Session::set_products(Products products) {
  model_ = Model::with_context(*model_, with_products(model_->context_ptr(), products));
}

// Tables are made for twice what is needed, so that token by token makes few. Dynamic scaling depends on the length
// itself beyond the original one: there the table is made anew for each length, and keys in the cache keep the angles
// they got, as in transformers.
void Session::extend_rope(int64_t positions) {
  const ModelConfig& config = model_->config();
  if (config.position != PositionKind::kRope) return;
  const bool dynamic = config.rope.kind == RopeKind::kDynamic || config.rope.kind == RopeKind::kLongRope;
  const auto original = static_cast<int64_t>(config.rope.original_max_seq);
  if (dynamic && (positions > original || rope_.positions > original)) {
    if (rope_.positions != positions) rope_ = make_rope_table(config, positions);
  } else if (rope_.positions < positions) {
    const int64_t room = std::min(std::max(2 * positions, int64_t{256}), max_seq_);
    rope_ = make_rope_table(config, dynamic ? std::min(room, original) : room);
  }
}

Status Session::step(const int32_t* ids, int64_t n, bool all, float* logits, Progress* progress) {
  const auto embed = [&](const Sequences& sequences, float* r) { return ends_->embed(*model_, sequences, ids, r); };
  return run(embed, n, all, logits, progress);
}

Status Session::step_embeddings(const float* x, int64_t n, bool all, float* logits, Progress* progress) {
  const auto embed = [&](const Sequences& sequences, float* r) { return ends_->embed_rows(*model_, sequences, x, r); };
  return run(embed, n, all, logits, progress);
}

Status Session::run(const Embed& embed, int64_t n, bool all, float* logits, Progress* progress) {
  const ModelConfig& config = model_->config();
  if (n < 1 || n > max_seq_ - position_) {
    return error(Code::kInvalidArgument, "%lld tokens do not fit: %lld of %lld positions are used",
                 static_cast<long long>(n), static_cast<long long>(position_), static_cast<long long>(max_seq_));
  }
  if (!config.causal && position_ > 0) {
    return error(Code::kInvalidArgument, "an encoder reads a text in one step: %lld tokens were fed before these %lld",
                 static_cast<long long>(position_), static_cast<long long>(n));
  }
  Sequences sequences;
  for (int64_t s = 0; s <= batch_; ++s) sequences.start.push_back(s * n);
  sequences.first.assign(static_cast<size_t>(batch_), position_);
  extend_rope(position_ + n);

  Scratch r(batch_ * n * config.hidden);
  QZ_TRY(embed(sequences, r.data()));
  for (size_t i = 0; i < blocks_.size(); ++i) {
    QZ_TRY(
        block_forward(*model_, blocks_[i], rope_, sequences, config.causal ? &cache_[i] : nullptr, r.data(), progress));
  }
  if (logits != nullptr) {
    const bool one = config.pooled || !all;
    const int64_t rows = one ? batch_ : batch_ * n, which = config.pooled ? 0 : n - 1;
    if (one && n > 1) {  // the last row of each sequence, or a classifier's first, moved to the front
      for (int64_t s = 0; s < batch_; ++s) {
        std::memmove(r.data() + s * config.hidden, r.data() + (s * n + which) * config.hidden,
                     static_cast<size_t>(config.hidden) * sizeof(float));
      }
    }
    for (int64_t row = 0; row < rows; row += kLogitRows) {
      const int64_t some = std::min(kLogitRows, rows - row);
      const MatrixView part{r.data() + row * config.hidden, some, config.hidden, config.hidden};
      QZ_TRY(ends_->logits(*model_, part, logits + row * config.outputs, progress));
    }
  }
  position_ += n;
  return {};
}

}  // namespace qz
