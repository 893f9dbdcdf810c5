#include "kernels/scratch.h"

#include <cstdlib>

namespace qz {
namespace {

struct Buffer {
  float* data = nullptr;
  size_t floats = 0;
  ~Buffer() { std::free(data); }
};

float* at_least(size_t floats, Buffer* buffer) {
  if (buffer->floats < floats) {
    std::free(buffer->data);
    const size_t bytes = (floats * sizeof(float) + 63) / 64 * 64;
    buffer->data = static_cast<float*>(std::aligned_alloc(64, bytes));
    buffer->floats = buffer->data ? floats : 0;
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

size_t kept_shared_scratch() { return shared_buffer().floats * sizeof(float); }

}  // namespace qz
