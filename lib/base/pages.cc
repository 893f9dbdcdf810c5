#include "base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace qz {
namespace {

constexpr size_t kHugeFrom = size_t{2} << 20;  // a whole large page

// 4 KiB on x86; on Arm the system was built for 4, 16 or 64 KiB.
size_t page_size() {
  static const auto size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

size_t whole_pages(size_t bytes) { return (bytes + page_size() - 1) / page_size() * page_size(); }

class Pages {
 public:
  // Null: no memory. *fresh: the pages are zero.
  void* take(size_t size, bool* fresh) {
    const std::lock_guard<std::mutex> lock(mutex_);
    void* memory = reuse(size);
    *fresh = memory == nullptr;
    if (memory == nullptr) {
      // What is kept and what is in use together stay below what was, or now is, in use at once.
      while (!kept_.empty() && used_ + kept_bytes_ + size > std::max(most_, used_ + size)) drop(std::prev(kept_.end()));
      memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
      // One fault for 2 MiB instead of 512, where the system has such pages to give. A hint: nothing depends on it.
      if (size >= kHugeFrom) (void)::madvise(memory, size, MADV_HUGEPAGE);
#endif
    }
    used_ += size;
    most_ = std::max(most_, used_);
    return memory;
  }

  void give(void* memory, size_t size) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    used_ -= size;
    if (keep_none_ == 0 && kept_bytes_ + size <= kKeptPages) {
      try {
        kept_.emplace(size, memory);
        kept_bytes_ += size;
        return;
      } catch (const std::bad_alloc&) {  // then it is not kept
      }
    }
    ::munmap(memory, size);
  }

  void keep_none(int change) {
    const std::lock_guard<std::mutex> lock(mutex_);
    keep_none_ += change;
  }
  void drop_all() {
    const std::lock_guard<std::mutex> lock(mutex_);
    while (!kept_.empty()) drop(kept_.begin());
    most_ = used_;
  }

 private:
  using Kept = std::multimap<size_t, void*>;

  // The smallest that is large enough but not twice as large; its end goes back.
  void* reuse(size_t size) {
    const auto found = kept_.lower_bound(size);
    if (found == kept_.end() || found->first > 2 * size) return nullptr;
    auto* memory = static_cast<char*>(found->second);
    if (found->first > size) ::munmap(memory + size, found->first - size);
    kept_bytes_ -= found->first;
    kept_.erase(found);
    return memory;
  }

  void drop(Kept::iterator which) {
    ::munmap(which->second, which->first);
    kept_bytes_ -= which->first;
    kept_.erase(which);
  }

  std::mutex mutex_;
  Kept kept_;  // by size
  size_t used_ = 0, kept_bytes_ = 0, most_ = 0;
  int keep_none_ = 0;  // how many KeepNoPages there are
};

// Never destroyed: arrays of the host's static objects may outlive this file's.
Pages& pages() {
  static auto* const all = new Pages;
  return *all;
}

void* take(size_t bytes, bool zero) {
  if (bytes < kOwnPages) {
    void* memory = zero ? std::calloc(bytes > 0 ? bytes : 1, 1) : std::malloc(bytes > 0 ? bytes : 1);
    return memory != nullptr ? memory : ::operator new(PTRDIFF_MAX);  // as there is no such block: std::bad_alloc
  }
  bool fresh = false;
  void* memory = bytes <= PTRDIFF_MAX - page_size() ? pages().take(whole_pages(bytes), &fresh) : nullptr;
  if (memory == nullptr) return ::operator new(PTRDIFF_MAX);
  if (zero && !fresh) std::memset(memory, 0, bytes);
  return memory;
}

}  // namespace

void* take_zeroed(size_t bytes) { return take(bytes, true); }

void* take_any(size_t bytes) { return take(bytes, false); }

void give_back(void* memory, size_t bytes) {
  if (bytes < kOwnPages) {
    std::free(memory);
  } else {
    pages().give(memory, whole_pages(bytes));
  }
}

KeepNoPages::KeepNoPages() {
  pages().keep_none(1);
  pages().drop_all();
}

KeepNoPages::~KeepNoPages() { pages().keep_none(-1); }

void release_heap() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

void release_unused() {
  pages().drop_all();
  release_heap();
}

}  // namespace qz
