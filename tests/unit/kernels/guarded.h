// Memory with pages on both sides that may not be touched. What does not fill whole pages stands either against the
// page before it or against the page after it.
#pragma once
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace qz {

class Guarded {
 public:
  Guarded(const void* from, size_t bytes, bool at_end) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t room = (bytes + page - 1) / page * page;
    size_ = room + 2 * page;
    base_ = static_cast<uint8_t*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    data_ = base_ + page + (at_end ? room - bytes : 0);
    if (bytes > 0 && from != nullptr) std::memcpy(data_, from, bytes);
    EXPECT_EQ(mprotect(base_, page, PROT_NONE), 0);
    EXPECT_EQ(mprotect(base_ + page + room, page, PROT_NONE), 0);
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(static_cast<void*>(data_));
  }

 private:
  uint8_t *base_, *data_;
  size_t size_;
};

}  // namespace qz
