#include "run/streams.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/rows.h"
#include "base/simd.h"
#include "kernels/gemm.h"
#include "run/sizes.h"

namespace qz {
namespace {

// The largest magnitude of n numbers, in lanes that the compiler can keep in vectors.
QZ_SIMD_CLONES
float largest(const float* x, int64_t n) {
  constexpr int kLanes = 16;
  float most[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) {
      const float magnitude = std::fabs(x[i + l]);
      most[l] = magnitude > most[l] ? magnitude : most[l];
    }
  for (; i < n; i++) most[0] = std::max(most[0], std::fabs(x[i]));
  return *std::max_element(most, most + kLanes);
}

// The lower triangle into the upper one, in squares that stay in the cache.
Status mirror(const Context& context, Matrix* h) {
  constexpr int64_t kSide = 64;
  const int64_t n = h->rows();
  return parallel_for(context, static_cast<uint32_t>(ceil_div(n, kSide)), [&](uint32_t task, uint32_t) {
    const int64_t i0 = task * kSide, i1 = std::min(n, i0 + kSide);
    for (int64_t j0 = i0; j0 < n; j0 += kSide)
      for (int64_t j = j0; j < std::min(n, j0 + kSide); j++)
        for (int64_t i = i0; i < std::min(i1, j); i++) h->row(i)[j] = h->row(j)[i];
    return Status();
  });
}

// A run of tokens of one sequence that the model's positions hold.
struct Piece {
  const int32_t* ids = nullptr;  // or
  const Matrix* rows = nullptr;  // rows [first, first + length) of it
  int64_t first = 0, length = 0;
};

Status check_sequences(const Model& model, const TokenSet& calibration) {
  for (size_t i = 0; i < calibration.sequences.size(); i++) {
    const auto& ids = calibration.sequences[i];
    for (size_t t = 0; t < ids.size(); t++)
      if (ids[t] < 0 || ids[t] >= model.config().vocab)
        return error(Code::kInvalidArgument,
                     "sequence %zu, position %zu: token id %d is outside the vocabulary of %lld", i, t, ids[t],
                     static_cast<long long>(model.config().vocab));
  }
  for (size_t i = 0; i < calibration.embeddings.size(); i++)
    if (calibration.embeddings[i].cols() != model.config().embed_dim)
      return error(Code::kInvalidArgument, "sequence %zu of embeddings has %lld numbers a token, the model has %lld", i,
                   static_cast<long long>(calibration.embeddings[i].cols()),
                   static_cast<long long>(model.config().embed_dim));
  return {};
}

std::vector<Piece> cut_pieces(const TokenSet& calibration, int64_t longest, int64_t* cut) {
  std::vector<Piece> pieces;
  const auto add = [&](const int32_t* ids, const Matrix* rows, int64_t length) {
    if (length > longest) ++*cut;
    for (int64_t at = 0; at < length; at += longest)
      pieces.push_back({ids != nullptr ? ids + at : nullptr, rows, at, std::min(longest, length - at)});
  };
  for (const auto& ids : calibration.sequences) add(ids.data(), nullptr, static_cast<int64_t>(ids.size()));
  for (const Matrix& rows : calibration.embeddings) add(nullptr, &rows, rows.rows());
  return pieces;
}

}  // namespace

Result<Streams> Streams::create(const Model& model, const TokenSet& calibration, bool two) {
  Streams s;
  s.two_ = two;
  QZ_TRY(check_sequences(model, calibration));
  const std::vector<Piece> pieces = cut_pieces(calibration, model.config().max_seq, &s.cut_);
  if (pieces.empty()) return error(Code::kInvalidArgument, "the calibration set has no tokens");

  // Held-out sequences, spread evenly over the set (a mixed set is judged by both its halves).
  const int64_t count = static_cast<int64_t>(pieces.size());
  int64_t total = 0;
  for (const Piece& p : pieces) total += p.length;
  const int64_t mean = std::max<int64_t>(1, total / count);
  const int64_t held = held_sequences(count, mean);
  std::vector<bool> is_held(static_cast<size_t>(count));
  for (int64_t i = 0; i < held; i++) is_held[static_cast<size_t>((2 * i + 1) * count / (2 * held))] = true;
  int64_t held_tokens = 0;
  for (int64_t i = 0; i < count; i++)
    if (is_held[static_cast<size_t>(i)]) held_tokens += pieces[static_cast<size_t>(i)].length;
  const int64_t every = held_every(held_tokens);

  for (int64_t i = 0; i < count; i++) {
    const int64_t length = pieces[static_cast<size_t>(i)].length;
    if (s.chunks_.empty() || s.chunks_.back().sequences.rows() >= kChunkTokens) {
      Chunk chunk;
      chunk.row = s.rows_;
      chunk.sequences.start = {0};
      s.chunks_.push_back(std::move(chunk));
    }
    Sequences& sequences = s.chunks_.back().sequences;
    sequences.start.push_back(sequences.rows() + length);
    s.rows_ += length;
    for (int64_t t = 0; t < length; t++)
      s.held_.push_back(!is_held[static_cast<size_t>(i)] ? 0 : t % every == every / 2 ? 2 : 1);
  }
  s.held_sequence_rows_ = held_tokens;

  QZ_ASSIGN(const Ends ends, Ends::load(model));
  s.quantized_ = Matrix(s.rows_, model.config().hidden);
  int64_t row = 0;
  for (const Piece& piece : pieces) {
    Sequences one;
    one.start = {0, piece.length};
    float* out = s.quantized_.row(row);
    QZ_TRY(piece.rows != nullptr ? ends.embed_rows(model, one, piece.rows->row(piece.first), out)
                                 : ends.embed(model, one, piece.ids, out));
    row += piece.length;
  }
  if (two) s.original_ = s.quantized_;
  return s;
}

Result<StageStats> Streams::collect(const Context& context, int64_t cols, bool residual, const Produce& produce,
                                    Progress* progress, DeviceSolver* device) const {
  StageStats stats;
  stats.cols = cols;
  stats.tokens = solving_tokens();
  stats.h = Matrix(cols, cols);
  if (two_) stats.drift = Matrix(cols, cols);
  const int64_t hidden = quantized_.cols();
  const bool with_residual = residual && two_;
  if (with_residual) stats.residual = Matrix(hidden, cols);
  const int64_t judges = std::count(held_.begin(), held_.end(), 2);
  stats.held_x = Matrix(judges, cols);
  if (two_) stats.held_dx = Matrix(judges, cols);
  if (with_residual) stats.held_dr = Matrix(judges, hidden);

  std::vector<int64_t> judge(held_.size());  // which of the judges a row is
  for (size_t r = 0, before = 0; r < held_.size(); r++)
    judge[r] = static_cast<int64_t>(held_[r] == 2 ? before++ : before);
  std::unique_ptr<DeviceHessian> there;
  if (device) {
    int64_t longest = 0;
    for (const Chunk& chunk : chunks_) longest = std::max(longest, chunk.sequences.rows());
    QZ_ASSIGN(there, device->hessian(cols, longest));
  }
  Matrix x, d, dr;
  std::vector<float> most;
  for (const Chunk& chunk : chunks_) {
    const int64_t n = chunk.sequences.rows();
    if (x.rows() != n) {
      x = Matrix(n, cols);
      if (two_) d = Matrix(n, cols);
      if (with_residual) dr = Matrix(n, hidden);
    }
    QZ_TRY(produce(chunk, false, x.data()));
    if (two_) QZ_TRY(produce(chunk, true, d.data()));
    most.assign(static_cast<size_t>(n), 0);
    QZ_TRY(for_each_row(context, n, [&](int64_t r) {
      most[static_cast<size_t>(r)] = largest(x.row(r), cols);
      if (two_)
        for (int64_t c = 0; c < cols; c++) d.row(r)[c] -= x.row(r)[c];
      if (with_residual)
        for (int64_t c = 0; c < hidden; c++)
          dr.row(r)[c] = original_.row(chunk.row + r)[c] - quantized_.row(chunk.row + r)[c];
      const uint8_t held = held_[static_cast<size_t>(chunk.row + r)];
      if (held == 2) {
        const int64_t j = judge[static_cast<size_t>(chunk.row + r)];
        std::copy_n(x.row(r), cols, stats.held_x.row(j));
        if (two_) std::copy_n(d.row(r), cols, stats.held_dx.row(j));
        if (with_residual) std::copy_n(dr.row(r), hidden, stats.held_dr.row(j));
      }
      if (held) std::fill_n(x.row(r), cols, 0.0f);  // a zero row adds nothing to any sum
    }));
    stats.most = std::max(stats.most, *std::max_element(most.begin(), most.end()));
    std::vector<LeftFactor> left;
    if (there)
      QZ_TRY(there->add(context, x.view()));
    else
      left.push_back({x.view(), true, stats.h.data(), cols});
    if (two_) left.push_back({d.view(), false, stats.drift.data(), cols});
    if (with_residual) left.push_back({dr.view(), false, stats.residual.data(), cols});
    if (!left.empty()) QZ_TRY(gemm_tn(context, left, x.view(), progress));
  }
  if (there) QZ_TRY(there->get(&stats.h));
  QZ_TRY(mirror(context, &stats.h));
  return stats;
}

Result<StageStats> Streams::collect_rows(const Context& context, const std::vector<int64_t>& rows, int64_t cols,
                                         const ProduceRows& produce, Progress* progress, DeviceSolver* device) const {
  StageStats stats;
  stats.cols = cols;
  stats.h = Matrix(cols, cols);
  if (two_) stats.drift = Matrix(cols, cols);
  const auto is = [&](int64_t row, uint8_t kind) { return held_[static_cast<size_t>(row)] == kind; };
  stats.tokens = std::count_if(rows.begin(), rows.end(), [&](int64_t r) { return is(r, 0); });
  const int64_t judges = std::count_if(rows.begin(), rows.end(), [&](int64_t r) { return is(r, 2); });
  stats.held_x = Matrix(judges, cols);
  if (two_) stats.held_dx = Matrix(judges, cols);

  const auto total = static_cast<int64_t>(rows.size());
  std::unique_ptr<DeviceHessian> there;
  if (device && total > 0) {
    QZ_ASSIGN(there, device->hessian(cols, std::min(kChunkTokens, total)));
  }
  int64_t judge = 0;
  for (int64_t begin = 0; begin < total; begin += kChunkTokens) {
    const int64_t n = std::min(kChunkTokens, total - begin), *row = rows.data() + begin;
    Matrix x(n, cols), d(two_ ? n : 0, cols);
    QZ_TRY(produce(row, n, false, x.data()));
    stats.most = std::max(stats.most, largest(x.data(), x.rows() * x.cols()));
    if (two_) QZ_TRY(produce(row, n, true, d.data()));
    for (int64_t i = 0; i < d.rows() * cols; i++) d.data()[i] -= x.data()[i];
    for (int64_t r = 0; r < n; r++) {
      if (is(row[r], 0)) continue;
      if (is(row[r], 2)) {
        std::copy_n(x.row(r), cols, stats.held_x.row(judge));
        if (two_) std::copy_n(d.row(r), cols, stats.held_dx.row(judge));
        judge++;
      }
      std::fill_n(x.row(r), cols, 0.0f);
    }
    if (there)
      QZ_TRY(there->add(context, x.view()));
    else
      QZ_TRY(gemm_tn(context, x.view(), x.view(), 1.0f, true, stats.h.data(), cols, progress));
    if (two_) QZ_TRY(gemm_tn(context, d.view(), x.view(), 1.0f, false, stats.drift.data(), cols, progress));
  }
  if (there) QZ_TRY(there->get(&stats.h));
  QZ_TRY(mirror(context, &stats.h));
  return stats;
}

}  // namespace qz
