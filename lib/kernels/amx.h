// Intel's tiles (AMX): eight registers of 16 rows of 64 bytes. A process must ask the system for them before the first
// use; threads and children inherit the answer.
#pragma once
#include <cstdint>

namespace qz {

constexpr int64_t kAmxRows = 16, kAmxRowBytes = 64;

// Null: this process may use tiles, of bfloat16 and of int8. Else why not, in words. Asks the system at the first call
// only. (One consequence: from then on the system refuses signal stacks too small for the tiles' 8 KiB.)
const char* amx_missing();
inline bool has_amx() { return !amx_missing(); }

// The tiles of this thread while it lives, 16 x 64 bytes and zero, the first five with `rows` rows. They make every
// switch between threads dearer: hold them for a task or a part of it, not longer, and not two at once. Only where
// has_amx().
class AmxTiles {
 public:
  explicit AmxTiles(int64_t rows = kAmxRows);
  ~AmxTiles();
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
};

}  // namespace qz
