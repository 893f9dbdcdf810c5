// A tensor whose bytes lie otherwise in the file than they are shown: rows in another order, blocks of codes that are
// shown as the floats that they stand for.
#pragma once
#include <cstdint>

#include "base/status.h"
#include "io/file.h"
#include "io/safetensors.h"

namespace qz {

struct StoredForm {
  // Rows of each of so many heads are stored in pairs: row h d + 2 i + j of the file is row h d + j d / 2 + i of the
  // tensor, with d rows a head (llama.cpp's order of q and k). 0: rows are in order.
  int64_t heads = 0;
  // Blocks of the file, `elements` in `bytes`, shown as float32; null: bytes are shown as they are.
  const void* block = nullptr;
  void (*decode)(const void* block, const uint8_t* bytes, float* out) = nullptr;
  uint32_t elements = 1, bytes = 1;

  // Bytes [first, first + count) of `tensor` as it is shown.
  Status read(const File& file, const TensorInfo& tensor, uint64_t first, uint64_t count, uint8_t* out) const;
};

}  // namespace qz
