#include "base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
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
      while (!kept_.empty() && used_ + kept_bytes_ + size > std::max(most_, used_ + size)) drop(kept_.begin());
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
        keep(static_cast<char*>(memory), size);
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
  using Kept = std::map<char*, size_t>;  // by address: neighbours become one

  void keep(char* memory, size_t size) {
    const auto at = kept_.emplace(memory, size).first;
    kept_bytes_ += size;
    if (const auto next = std::next(at); next != kept_.end() && memory + size == next->first) {
      at->second += next->second;
      kept_.erase(next);
    }
    if (at == kept_.begin()) return;
    if (const auto before = std::prev(at); before->first + before->second == memory) {
      before->second += at->second;
      kept_.erase(at);
    }
  }

  // From the smallest that is large enough; what is left of it stays. There are few.
  void* reuse(size_t size) {
    auto best = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end(); ++it)
      if (it->second >= size && (best == kept_.end() || it->second < best->second)) best = it;
    if (best == kept_.end()) return nullptr;
    char* const memory = best->first;
    if (best->second > size) {
      try {
        kept_.emplace(memory + size, best->second - size);
      } catch (const std::bad_alloc&) {
        return nullptr;
      }
    }
    kept_.erase(best);
    kept_bytes_ -= size;
    return memory;
  }

  void drop(Kept::iterator which) {
    ::munmap(which->first, which->second);
    kept_bytes_ -= which->second;
    kept_.erase(which);
  }

  std::mutex mutex_;
  Kept kept_;
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
