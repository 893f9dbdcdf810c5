// Memory of large arrays: pages of their own. From the common heap they would stay with the process or not, depending
// on what was freed before: nobody could say beforehand what a run takes at most (run/memory.cc does). Freed pages are
// kept for the next array as long as that never takes more than what was in use at once before; new ones would have to
// be made and cleared by the system each time.
#pragma once
#include <cstddef>
#include <utility>

namespace qz {

// Arrays from this size on have their own pages: fewer would cost more system calls than they are worth.
constexpr size_t kOwnPages = size_t{1} << 20;
// Of freed pages, at most this much is kept.
constexpr size_t kKeptPages = size_t{256} << 20;

// Zeros, or whatever was there. Without memory: std::bad_alloc, as from operator new. `bytes` must be the same when the
// memory is given back. Thread-safe.
void* take_zeroed(size_t bytes);
void* take_any(size_t bytes);
void give_back(void* memory, size_t bytes);

// Gives all pages that nobody uses to the system, those of the common heap among them.
void release_unused();
// While there is one, freed pages go back at once, in all threads: of arrays whose sizes differ from step to step few
// would be used again.
class KeepNoPages {
 public:
  KeepNoPages();
  ~KeepNoPages();
  KeepNoPages(const KeepNoPages&) = delete;
  KeepNoPages& operator=(const KeepNoPages&) = delete;
};
// release_unused() at the end of a long operation, whatever its outcome.
struct ReleaseUnusedAtEnd {
  ~ReleaseUnusedAtEnd() { release_unused(); }
};
// Those of the common heap alone: between two steps of a long run, whose codes, bytes of files, and arrays below
// kOwnPages would otherwise keep them.
void release_heap();

// For std::vector. Elements are zero at first, so new ones are not written.
template <class T>
struct PageAllocator {
  using value_type = T;
  PageAllocator() = default;
  template <class U>
  PageAllocator(const PageAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(take_zeroed(n * sizeof(T))); }
  void deallocate(T* memory, size_t n) { give_back(memory, n * sizeof(T)); }
  template <class U>
  void construct(U*) {}
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
  friend bool operator==(const PageAllocator&, const PageAllocator&) { return true; }
  friend bool operator!=(const PageAllocator&, const PageAllocator&) { return false; }
};

}  // namespace qz
