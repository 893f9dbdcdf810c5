// Memory of large arrays: pages of their own, which the system gets back as soon as the array is freed. From the common
// heap they would stay with the process or not, depending on what was freed before: nobody could say beforehand what a
// run takes at most (run/memory.cc does).
#pragma once
#include <cstddef>
#include <utility>

namespace qz {

// Arrays from this size on have their own pages: fewer would cost more system calls than they are worth.
constexpr size_t kOwnPages = size_t{1} << 20;

// Zeros. Without memory: std::bad_alloc, as from operator new. `bytes` must be the same in both.
void* take_zeroed(size_t bytes);
void give_back(void* memory, size_t bytes);

// Gives the pages of the common heap that nobody uses to the system: between two steps of a long run, whose own arrays
// below kOwnPages, codes and bytes of files would otherwise keep them.
void release_unused();

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
