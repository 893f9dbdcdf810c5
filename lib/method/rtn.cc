#include "method/rtn.h"

#include "method/blocks.h"
#include "method/hqq.h"
#include "method/row_absmax.h"
#include "method/tables.h"

namespace qz {

QMatrix assemble(int64_t rows, int64_t cols, const Scheme& scheme, const Grid& grid, const std::vector<uint8_t>& codes,
                 const std::vector<int32_t>& natural) {
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = scheme;
  const size_t stored = scheme.group == kGroupTensor ? 1 : grid.scale.size();
  q.scales.assign(grid.scale.begin(), grid.scale.begin() + static_cast<int64_t>(stored));
  if (!scheme.symmetric) {
    q.zeros.resize(stored);
    for (size_t i = 0; i < stored; i++) q.zeros[i] = static_cast<uint8_t>(grid.zero[i]);
  }
  if (natural.empty()) {
    q.codes = codes;
    return q;
  }
  q.codes.resize(codes.size());
  q.g_idx.resize(static_cast<size_t>(cols));
  const int64_t size = scheme.group_size(cols);
  for (int64_t c = 0; c < cols; c++) {
    const size_t to = static_cast<size_t>(natural[static_cast<size_t>(c)]);
    q.g_idx[to] = static_cast<int32_t>(c / size);
    for (int64_t r = 0; r < rows; r++)
      q.codes[static_cast<size_t>(r * cols) + to] = codes[static_cast<size_t>(r * cols + c)];
  }
  return q;
}

Result<QMatrix> rtn(const Context& context, MatrixView w, const Scheme& scheme, int32_t min_zero) {
  if (scheme.is_block()) return round_to_blocks(context, w, nullptr, scheme);
  if (scheme.code == CodeKind::kLlmInt8) return round_to_row_absmax(context, w, scheme);
  if (scheme.code != CodeKind::kInt) return round_to_table(context, w, scheme);
  if (scheme.float_zero) {
    HqqOptions plain;
    plain.iterations = 0;
    plain.search = false;
    return hqq(context, w, scheme, plain);
  }
  RangeOptions options;
  options.search = false;
  options.signed_grid = false;
  options.min_zero = min_zero;
  QZ_ASSIGN(Grid grid, choose_grid(context, w, nullptr, scheme, options));
  return assemble(w.rows, w.cols, scheme, grid, nearest_codes(context, w, grid, scheme), {});
}

}  // namespace qz
