#include "method/blocks.h"

#include "base/pool.h"
#include "method/block_fit.h"

namespace qz {

Result<QMatrix> round_to_blocks(const Context& context, MatrixView w, const float* importance, const Scheme& scheme) {
  const BlockCode* block = find_block_code(scheme.code);
  if (!block || w.cols % block->elements != 0)
    return error(Code::kUnsupported, "blocks of scheme %s do not divide %lld columns", scheme_name(scheme).c_str(),
                 static_cast<long long>(w.cols));
  QMatrix q;
  q.rows = w.rows;
  q.cols = w.cols;
  q.scheme = scheme;
  const int64_t count = w.cols / block->elements;
  q.codes.resize(static_cast<size_t>(w.rows * count * block->bytes));
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(w.rows), [&](uint32_t r, uint32_t) {
    const int64_t done = fit_blocks(*block, count, w.row(r), importance, q.codes.data() + r * count * block->bytes);
    if (done < count)
      return error(Code::kNumeric, "row %u, column %lld: the scale does not fit F16", r,
                   static_cast<long long>(done * block->elements));
    return Status();
  }));
  return q;
}

}  // namespace qz
