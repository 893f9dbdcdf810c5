#include "method/refine.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/checked.h"
#include "base/simd.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

constexpr int kLanes = 16;           // independent rows side by side
constexpr int64_t kBlock = 128;      // columns between two products
constexpr float kLeastRatio = 0.8f;  // a refit may not leave this range of the scale that it starts from
constexpr float kMostRatio = 1.25f;

// One pass of coordinate descent over `width` columns for kLanes rows; tiles are [width][kLanes].
//   g: gradient (T - Q) H of these columns, kept up to date; h: H at (block, block), row stride ld
//   delta: out: change of the dequantized values
QZ_SIMD_CLONES
void descend_lanes(float* g, const float* h, int64_t ld, int64_t width, const float* scale, const float* inverse,
                   const float* zero, const Points& points, float* code, float* delta) {
  for (int64_t j = 0; j < width; j++) {
    const float step = 1 / h[j * ld + j];
    float d[kLanes], aim[kLanes], best[kLanes];
    float any = 0;
    for (int l = 0; l < kLanes; l++) {
      const int64_t at = j * kLanes + l;
      aim[l] = scale[at] * (code[at] - zero[at]) + g[at] * step;
    }
    nearest_points<kLanes>(points, aim, inverse + j * kLanes, zero + j * kLanes, best);
    for (int l = 0; l < kLanes; l++) {
      const int64_t at = j * kLanes + l;
      const float c = best[l];
      d[l] = scale[at] * (c - code[at]);
      code[at] = c;
      delta[at] += d[l];
      any += d[l] * d[l];
    }
    if (any == 0) continue;  // late sweeps change few codes
    for (int64_t k = 0; k < width; k++) {
      const float hk = h[j * ld + k];
      for (int l = 0; l < kLanes; l++) g[k * kLanes + l] -= d[l] * hk;
    }
  }
}

// The gradients of a chain's rows, one after another: row r of weight * p, where p [rows][width] is (T - Q) H and each
// row of it may be moved once its turn is over. Rows are multiplied in batches; what a batch's earlier rows moved
// meanwhile is added.
class ChainGradient {
 public:
  ChainGradient(const Context& context, MatrixView weight, float* p, int64_t width)
      : context_(context), weight_(weight), p_(p), width_(width), batch_(kBatch, width), moves_(kBatch, width) {}

  // Valid until the next call.
  Result<float*> row(int64_t r) {
    const int64_t i = r % kBatch;
    if (i == 0) {
      const int64_t count = std::min(kBatch, weight_.rows - r);
      std::fill_n(batch_.data(), count * width_, 0.0f);
      QZ_TRY(gemm_nn(context_, {weight_.row(r), count, weight_.cols, weight_.stride},
                     {p_, weight_.rows, width_, width_}, 1.0f, batch_.data(), width_));
    }
    float* g = batch_.row(i);
    for (int64_t s = 0; s < i; s++) add(weight_.row(r)[r - i + s], moves_.row(s), width_, g);
    return g;
  }
  // Row r of p moves by `by` [width].
  void move(int64_t r, const float* by) {
    std::copy_n(by, width_, moves_.row(r % kBatch));
    add(1, by, width_, p_ + r * width_);
  }

 private:
  static constexpr int64_t kBatch = 32;

  QZ_SIMD_CLONES
  static void add(float factor, const float* x, int64_t n, float* y) {
    for (int64_t j = 0; j < n; j++) y[j] += factor * x[j];
  }

  const Context& context_;
  const MatrixView weight_;
  float* const p_;
  const int64_t width_;
  Matrix batch_, moves_;
};

// The same descent for one row of a chain. g: its gradient, kept up to date.
QZ_SIMD_CLONES
void descend_row(float* g, const float* h, int64_t ld, int64_t width, const float* scale, const float* inverse,
                 const float* zero, const Points& points, float* code, float* delta) {
  for (int64_t j = 0; j < width; j++) {
    const float value = scale[j] * (code[j] - zero[j]);
    const float c = nearest_point(points, value + g[j] / h[j * ld + j], inverse[j], zero[j]);
    if (c == code[j]) continue;
    const float d = scale[j] * (c - code[j]);
    code[j] = c;
    delta[j] += d;
    const float* hj = h + j * ld;
    for (int64_t k = 0; k < width; k++) g[k] -= d * hj[k];
  }
}

// All rows of a chain; tiles are [rows][width]. p: (T - Q) H, kept up to date.
Status descend_chain(const Context& context, MatrixView weight, float* p, const float* h, int64_t ld, int64_t width,
                     const float* scale, const float* inverse, const float* zero, const Points& points, float* code,
                     float* delta) {
  ChainGradient gradient(context, weight, p, width);
  std::vector<float> moved(static_cast<size_t>(width));
  for (int64_t r = 0; r < weight.rows; r++) {
    QZ_ASSIGN(float* const g, gradient.row(r));
    for (int64_t j = 0; j < width; j++) moved[static_cast<size_t>(j)] = -g[j];
    const int64_t at = r * width;
    descend_row(g, h, ld, width, scale + at, inverse + at, zero + at, points, code + at, delta + at);
    for (int64_t j = 0; j < width; j++) moved[static_cast<size_t>(j)] += g[j];
    gradient.move(r, moved.data());
  }
  return {};
}

class Refiner {
 public:
  Refiner(const Context& context, MatrixView target, const HessianFactor& factor, const RowMetric& metric,
          const Lattice& lattice, Grid* grid, std::vector<uint8_t>* codes, Progress* progress)
      : context_(context),
        target_(target),
        factor_(factor),
        metric_(metric),
        lattice_(lattice),
        grid_(grid),
        codes_(codes),
        progress_(progress),
        rows_(target.rows),
        cols_(target.cols),
        size_(lattice.group),
        gradient_(rows_, cols_) {}

  Status start() {
    Matrix errors(rows_, cols_);
    for (int64_t r = 0; r < rows_; r++)
      for (int64_t c = 0; c < cols_; c++) errors.row(r)[c] = target_.row(r)[c] - value(r, c);
    return gemm_nn(context_, errors.view(), factor_.h.view(), 1.0f, gradient_.data(), cols_, progress_);
  }

  // last: nothing is moved after this sweep, so that gradients on the left need not be kept.
  Status sweep(bool refit, bool last) {
    for (int64_t c = 0; c < cols_;) {
      // Groups narrower than a block share one: their scales are refitted one by one, their codes descend together.
      const int64_t end = std::min(cols_, (c / size_ + 1) * size_);
      const int64_t stop = size_ >= kBlock ? end : std::min(cols_, c + kBlock / size_ * size_);
      open(c, stop);
      if (refit)
        for (int64_t c0 = c; c0 < stop; c0 += size_) {
          QZ_TRY(refit_group(c0 / size_, c0, std::min(size_, cols_ - c0), false));
          if (lattice_.offset != BlockOffset::kNone)
            QZ_TRY(refit_group(c0 / size_, c0, std::min(size_, cols_ - c0), true));
        }
      for (int64_t c0 = c; c0 < stop; c0 += kBlock) QZ_TRY(descend(c0, std::min(kBlock, stop - c0)));
      QZ_TRY(close(last));
      c = stop;
    }
    return {};
  }

 private:
  size_t code_at(int64_t r, int64_t c) const { return static_cast<size_t>(r * cols_ + c); }
  size_t grid_at(int64_t r, int64_t c) const { return static_cast<size_t>(grid_->at(r, c / size_)); }
  float value(int64_t r, int64_t c) const {
    const size_t g = grid_at(r, c);
    return grid_->scale[g] * (lattice_.points.of((*codes_)[code_at(r, c)]) - grid_->zero[g]);
  }
  uint32_t tasks() const {
    return static_cast<uint32_t>(metric_.identity() ? ceil_div(rows_, kLanes)
                                                    : static_cast<int64_t>(metric_.chains.size()));
  }
  // Row r of a task: neighbours, or the places of a chain.
  int64_t row_of(uint32_t task, int64_t r) const {
    return metric_.identity() ? static_cast<int64_t>(task) * kLanes + r
                              : metric_.chains[task].order[static_cast<size_t>(r)];
  }
  int64_t row_count(uint32_t task) const {
    return metric_.identity() ? std::min<int64_t>(kLanes, rows_ - row_of(task, 0)) : metric_.chains[task].rows;
  }

  // Columns [begin, end) are moved several times before any other: their own gradients follow at once, those of all
  // others once, when the span is closed.
  void open(int64_t begin, int64_t end) {
    begin_ = begin, end_ = end;
    const int64_t others = end - begin < cols_ ? rows_ : 0;
    moved_.reshape(others, end - begin);
    std::fill_n(moved_.data(), others * (end - begin), 0.0f);
  }
  // Columns c0 on have moved by delta [rows][width], within the open span.
  Status subtract(const Matrix& delta, int64_t c0) {
    for (int64_t r = 0; r < moved_.rows(); r++)
      for (int64_t j = 0; j < delta.cols(); j++) moved_.row(r)[c0 - begin_ + j] += delta.row(r)[j];
    return update(delta.view(), c0, begin_, end_);
  }
  Status close(bool last) {
    if (!last) QZ_TRY(update(moved_.view(), begin_, 0, begin_));
    return update(moved_.view(), begin_, end_, cols_);
  }
  // gradient[:, from : to] -= delta H[c0 : c0 + delta.cols, from : to].
  Status update(MatrixView delta, int64_t c0, int64_t from, int64_t to) {
    if (from == to) return {};
    return gemm_nn(context_, delta, {factor_.h.row(c0) + from, delta.cols, to - from, cols_}, -1.0f,
                   gradient_.data() + from, cols_, progress_);
  }

  Status refit_group(int64_t g, int64_t c0, int64_t width, bool offset);
  Status descend(int64_t c0, int64_t width);

  const Context& context_;
  const MatrixView target_;
  const HessianFactor& factor_;
  const RowMetric& metric_;
  const Lattice& lattice_;
  Grid* grid_;
  std::vector<uint8_t>* codes_;
  Progress* progress_;
  const int64_t rows_, cols_, size_;
  Matrix gradient_;  // (T - Q) H
  Matrix moved_;     // what the columns [begin_, end_) have moved by since they were opened
  int64_t begin_ = 0, end_ = 0;
};

// Scales of group g, row by row: the minimum of the quadratic along d = points - zero, rounded to what can be stored,
// taken if lower. Where groups have an offset of their own, zero * scale, it stands still meanwhile (d = points) and
// has its turn with d = -1.
Status Refiner::refit_group(int64_t g, int64_t c0, int64_t width, bool offset) {
  const bool zeros = lattice_.offset == BlockOffset::kNone;  // zero points stand still, not offsets
  Matrix direction(rows_, width), along(rows_, width);
  for (int64_t r = 0; r < rows_; r++) {
    const float zero = zeros ? grid_->zero[static_cast<size_t>(grid_->at(r, g))] : 0;
    for (int64_t j = 0; j < width; j++)
      direction.row(r)[j] = offset ? -1 : lattice_.points.of((*codes_)[code_at(r, c0 + j)]) - zero;
  }
  QZ_TRY(gemm_nn(context_, direction.view(), {factor_.h.row(c0) + c0, width, width, cols_}, 1.0f, along.data(), width,
                 progress_));
  auto products = [&](int64_t r, const float* gradient, double* num, double* den) {
    for (int64_t j = 0; j < width; j++) {
      *num += static_cast<double>(direction.row(r)[j]) * static_cast<double>(gradient[j]);
      *den += static_cast<double>(direction.row(r)[j]) * static_cast<double>(along.row(r)[j]);
    }
  };
  // Moving by d changes the loss by -2 d num + d^2 den; rounding to the stored type may spoil the gain.
  auto change = [&](size_t at, double num, double den) {
    const float scale = grid_->scale[at], old = offset ? grid_->zero[at] * scale : scale;
    if (!(den > 0) || std::fabs(scale) <= kNoScale) return 0.0f;
    const float aim = old + static_cast<float>(num / den);
    const float fitted = offset ? lattice_.nearest_offset(at, aim) : lattice_.nearest_scale(at, aim);
    const double d = static_cast<double>(fitted) - static_cast<double>(old);
    const float ratio = offset ? 1 : fitted / old;
    return ratio >= kLeastRatio && ratio <= kMostRatio && d * d * den < 2 * d * num ? fitted - old : 0.0f;
  };
  auto apply = [&](int64_t r, float by) {
    const size_t at = static_cast<size_t>(grid_->at(r, g));
    const float held = grid_->zero[at] * grid_->scale[at] + (offset ? by : 0);
    if (!offset) grid_->scale[at] += by;
    grid_->inverse[at] = 1 / grid_->scale[at];
    if (!zeros && by != 0) grid_->zero[at] = held / grid_->scale[at];
    for (int64_t j = 0; j < width; j++) direction.row(r)[j] *= by;
  };
  if (lattice_.one_scale) {  // one scale for all rows; the metric between rows is left out
    double num = 0, den = 0;
    for (int64_t r = 0; r < rows_; r++) products(r, gradient_.row(r) + c0, &num, &den);
    const float by = change(0, num, den);
    for (int64_t r = 0; r < rows_; r++) apply(r, by);
    return subtract(direction, c0);
  }
  const auto work = [&](uint32_t task, uint32_t) -> Status {
    const int64_t count = row_count(task);
    std::vector<float> p;
    std::optional<ChainGradient> chain;
    if (!metric_.identity()) {
      p.resize(static_cast<size_t>(count * width));
      chain.emplace(context_, metric_.chains[task].weight.view(), p.data(), width);
      for (int64_t r = 0; r < count; r++) std::copy_n(gradient_.row(row_of(task, r)) + c0, width, p.data() + r * width);
    }
    for (int64_t r = 0; r < count; r++) {
      const float* gradient = gradient_.row(row_of(task, r)) + c0;
      if (chain) {
        QZ_ASSIGN(gradient, chain->row(r));
      }
      double num = 0, den = 0;
      products(row_of(task, r), gradient, &num, &den);
      const float by = change(static_cast<size_t>(grid_->at(row_of(task, r), g)), num, den);
      if (chain) {
        float* move = along.row(row_of(task, r));  // not read again
        for (int64_t j = 0; j < width; j++) move[j] *= -by;
        chain->move(r, move);
      }
      apply(row_of(task, r), by);
    }
    return Status();
  };
  QZ_TRY(parallel_for(context_, tasks(), work, progress_));
  return subtract(direction, c0);
}

Status Refiner::descend(int64_t c0, int64_t width) {
  Matrix delta(rows_, width);
  const Points& points = lattice_.points;
  const auto work = [&](uint32_t task, uint32_t) -> Status {
    const bool lanes = metric_.identity();
    const int64_t count = row_count(task), rows = lanes ? kLanes : count;
    auto at = [&](int64_t r, int64_t j) { return lanes ? j * kLanes + r : r * width + j; };
    std::vector<float> buffer(static_cast<size_t>(6 * rows * width));
    float *g = buffer.data(), *scale = g + rows * width, *inverse = scale + rows * width,
          *zero = inverse + rows * width, *code = zero + rows * width, *moved = code + rows * width;
    for (int64_t r = 0; r < count; r++)
      for (int64_t j = 0; j < width; j++) {
        const size_t s = grid_at(row_of(task, r), c0 + j);
        g[at(r, j)] = gradient_.row(row_of(task, r))[c0 + j];
        scale[at(r, j)] = grid_->scale[s];
        inverse[at(r, j)] = grid_->inverse[s];
        zero[at(r, j)] = grid_->zero[s];
        code[at(r, j)] = points.of((*codes_)[code_at(row_of(task, r), c0 + j)]);
      }
    const float* h = factor_.h.row(c0) + c0;
    if (lanes)
      descend_lanes(g, h, cols_, width, scale, inverse, zero, points, code, moved);
    else
      QZ_TRY(descend_chain(context_, metric_.chains[task].weight.view(), g, h, cols_, width, scale, inverse, zero,
                           points, code, moved));
    for (int64_t r = 0; r < count; r++)
      for (int64_t j = 0; j < width; j++) {
        delta.row(row_of(task, r))[j] = moved[at(r, j)];
        (*codes_)[code_at(row_of(task, r), c0 + j)] = points.code(code[at(r, j)]);
      }
    return Status();
  };
  QZ_TRY(parallel_for(context_, tasks(), work, progress_));
  return subtract(delta, c0);
}

}  // namespace

Status refine(const Context& context, MatrixView target, const HessianFactor& factor, const RowMetric& metric,
              const Lattice& lattice, int32_t sweeps, bool refit, Grid* grid, std::vector<uint8_t>* codes,
              Progress* progress) {
  if (sweeps <= 0) return {};
  Refiner refiner(context, target, factor, metric, lattice, grid, codes, progress);
  QZ_TRY(refiner.start());
  for (int32_t i = 0; i < sweeps; i++) QZ_TRY(refiner.sweep(refit, i + 1 == sweeps));
  return {};
}

}  // namespace qz
