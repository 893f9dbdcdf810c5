#include "method/blocks.h"

#include "base/pool.h"
#include "packed/block_code.h"

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
    uint8_t* to = q.codes.data() + r * count * block->bytes;
    for (int64_t b = 0; b < count; ++b)
      block->encode(w.row(r) + b * block->elements, importance ? importance + b * block->elements : nullptr,
                    to + b * block->bytes);
    return Status();
  }));
  return q;
}

}  // namespace qz
