// Memory for large arrays that kernels stream: aligned, zero, and on huge pages where the system gives them, because a
// sweep over many megabytes otherwise misses the address translation cache every 4 KiB.
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace qz {

class AlignedBytes {
 public:
  AlignedBytes() = default;
  // `bytes` of zeros; empty() afterwards means that there was no memory.
  explicit AlignedBytes(size_t bytes) {
    constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;
    const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kLine;
    const size_t room = (bytes + alignment - 1) / alignment * alignment;
    data_.reset(static_cast<uint8_t*>(std::aligned_alloc(alignment, room)));
    if (!data_) return;
    if (alignment == kHugePage) (void)madvise(data_.get(), room, MADV_HUGEPAGE);  // a wish: failing changes nothing
    std::memset(data_.get(), 0, room);
    size_ = bytes;
  }
  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint8_t[], Free> data_;
  size_t size_ = 0;
};

}  // namespace qz
