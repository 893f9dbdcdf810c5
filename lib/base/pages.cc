#include "base/pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace qz {

void* take_zeroed(size_t bytes) {
  void* memory = nullptr;
  if (bytes < kOwnPages) {
    memory = std::calloc(bytes > 0 ? bytes : 1, 1);
  } else if (bytes <= PTRDIFF_MAX) {
    memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) memory = nullptr;
  }
  return memory != nullptr ? memory : ::operator new(PTRDIFF_MAX);  // as there is no such block: std::bad_alloc
}

void give_back(void* memory, size_t bytes) {
  if (bytes < kOwnPages) {
    std::free(memory);
  } else {
    ::munmap(memory, bytes);
  }
}

void release_unused() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

}  // namespace qz
