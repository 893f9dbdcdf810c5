#include "method/tables.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/pool.h"
#include "packed/codebook.h"
#include "tensor/convert.h"
#include "tensor/extremes.h"

namespace qz {
namespace {

constexpr int64_t kTaskElements = 1 << 16;
constexpr float kFp8Most = 448;

float storable(float scale, DType dtype) {
  const float smallest = dtype == DType::kF16 ? 6.103515625e-05f : 1.17549435e-38f;
  return scale > 0 ? std::max(round_to(scale, dtype), smallest) : 1.0f;  // a group of zeros: any scale will do
}

// Elements [begin, end) of the matrix read row by row.
void round_block(MatrixView w, int64_t begin, int64_t end, QMatrix* q) {
  const auto each_run = [&](const auto& run) {  // blocks may cross the ends of rows
    for (int64_t i = begin; i < end;) {
      const int64_t n = std::min(end - i, w.cols - i % w.cols);
      run(w.row(i / w.cols) + i % w.cols, i, n);
      i += n;
    }
  };
  float most = 0;
  each_run([&](const float* from, int64_t, int64_t n) { most = std::max(most, largest_magnitude(from, n)); });
  q->scales[static_cast<size_t>(begin / q->scheme.group)] = most;
  const float inverse = most > 0 ? 1 / most : 0;
  each_run([&](const float* from, int64_t i, int64_t n) {
    nearest_in_codebook(q->scheme.code, from, n, inverse, q->codes.data() + i);
  });
}

Status round_blocks(const Context& context, MatrixView w, QMatrix* q) {
  const int64_t n = w.rows * w.cols, size = q->scheme.group;
  const int64_t step = std::max<int64_t>(1, kTaskElements / size) * size;
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(ceil_div(n, step)), [&](uint32_t task, uint32_t) {
    const int64_t end = std::min(n, (task + int64_t{1}) * step);
    for (int64_t i = task * step; i < end; i += size) round_block(w, i, std::min(end, i + size), q);
    return Status();
  }));
  if (q->scheme.nested) nest_scales(q);
  return {};
}

Status round_areas(const Context& context, MatrixView w, QMatrix* q) {
  return parallel_for(context, static_cast<uint32_t>(q->scales.size()), [&](uint32_t s, uint32_t) {
    const Area a = area_of(*q, s);
    float most = 0;
    for (int64_t r = a.row; r < a.row + a.rows; ++r) most = std::max(most, largest_magnitude(w.row(r) + a.col, a.cols));
    const float scale = storable(most / kFp8Most, q->scheme.scale);
    q->scales[s] = scale;
    for (int64_t r = a.row; r < a.row + a.rows; ++r)
      for (int64_t c = a.col; c < a.col + a.cols; ++c)
        q->codes[static_cast<size_t>(r * q->cols + c)] = nearest_in_codebook(CodeKind::kFp8, w.row(r)[c] / scale);
    return Status();
  });
}

}  // namespace

Area area_of(const QMatrix& q, int64_t s) {
  const Scheme& scheme = q.scheme;
  if (scheme.group == kGroupTensor) return {0, q.rows, 0, q.cols};
  const int64_t groups = q.groups(), size = scheme.group_size(q.cols);
  const int64_t height = scheme.grouping == Grouping::kTile ? scheme.group : 1;
  const int64_t row = s / groups * height, col = s % groups * size;
  return {row, std::min(height, q.rows - row), col, std::min(size, q.cols - col)};
}

void nest_scales(QMatrix* q) {
  const size_t count = q->scales.size(), block = static_cast<size_t>(q->scheme.nested);
  NestedScales& nested = q->nested;
  double sum = 0;
  for (const float s : q->scales) sum += static_cast<double>(s);
  nested.offset = static_cast<float>(sum / static_cast<double>(count));
  nested.map = dynamic_map();
  nested.codes.resize(count);
  nested.absmax.assign((count + block - 1) / block, 0.0f);
  for (size_t i = 0; i < count; ++i) {
    float& most = nested.absmax[i / block];
    most = std::max(most, std::fabs(q->scales[i] - nested.offset));
  }
  for (size_t i = 0; i < count; ++i) {
    const float most = nested.absmax[i / block];
    const float inverse = most > 0 ? 1 / most : 0;
    nested.codes[i] = nearest_in_map(nested.map, (q->scales[i] - nested.offset) * inverse);
  }
  q->scales = nested_scales(nested, q->scheme.nested);
}

Result<QMatrix> round_to_table(const Context& context, MatrixView w, const Scheme& scheme) {
  QMatrix q;
  q.rows = w.rows;
  q.cols = w.cols;
  q.scheme = scheme;
  q.codes.resize(static_cast<size_t>(w.rows * w.cols));
  q.scales.resize(static_cast<size_t>(scheme.scale_count(w.rows, w.cols)));
  QZ_TRY(scheme.grouping == Grouping::kFlat ? round_blocks(context, w, &q) : round_areas(context, w, &q));
  return q;
}

}  // namespace qz
