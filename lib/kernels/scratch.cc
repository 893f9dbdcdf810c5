#include "kernels/scratch.h"

#include <cstdlib>
#include <new>

#include "base/pages.h"

namespace qz {
namespace {

struct Buffer {
  float* data = nullptr;
  size_t floats = 0;
  ~Buffer() { clear(); }
  size_t bytes() const { return floats * sizeof(float); }
  void clear() {
    if (bytes() < kOwnPages) {
      std::free(data);
    } else {
      give_back(data, bytes());
    }
    data = nullptr, floats = 0;
  }
};

// Large ones have pages of their own, as all large arrays do: in the common heap a buffer that was outgrown would stay.
float* take(size_t bytes) {
  if (bytes < kOwnPages) return static_cast<float*>(std::aligned_alloc(64, bytes));
  try {
    return static_cast<float*>(take_any(bytes));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

float* at_least(size_t floats, Buffer* buffer) {
  if (buffer->floats < floats) {
    buffer->clear();
    const size_t bytes = (floats * sizeof(float) + 63) / 64 * 64;
    buffer->data = take(bytes);
    buffer->floats = buffer->data ? bytes / sizeof(float) : 0;
  }
  return buffer->data;
}

Buffer& shared_buffer() {
  thread_local Buffer buffer;
  return buffer;
}

}  // namespace

float* thread_scratch(size_t floats) {
  thread_local Buffer buffer;
  return at_least(floats, &buffer);
}

float* shared_scratch(size_t floats) { return at_least(floats, &shared_buffer()); }

size_t kept_shared_scratch() { return shared_buffer().bytes(); }

}  // namespace qz
