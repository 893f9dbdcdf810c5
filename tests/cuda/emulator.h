// A GPU on the host, slow and strict: the bodies of the kernels (cuda/*.h) run with these operations instead of PTX.
// Each thread is a fiber; which one goes on at a barrier or a matrix product is drawn at random, so that what depends
// on an order that nothing guarantees shows up between two seeds. Device memory is what was registered: reading or
// writing anything else, or at the wrong alignment, is a failure with words. Shared memory starts as NaN.
#pragma once
#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "args.h"
#include "expand.h"

namespace qz::cuda {

class Block;

// One thread's view.
class HostOps {
 public:
  struct Words {
    uint32_t v[4];
  };
  HostOps(Block* in, int32_t index) : block_(in), thread_(index) {}

  int32_t thread() const { return thread_; }
  int32_t block() const;
  float* shared() const;
  void sync();
  void fence() const {}

  Words load_stream(const uint32_t* p) const { return read<Words>(p, 16); }
  uint32_t load_4(const void* p) const { return read<uint32_t>(p, 4); }
  uint16_t load_2(const void* p) const { return read<uint16_t>(p, 2); }
  uint8_t load_8(const uint8_t* p) const { return read<uint8_t>(p, 1); }
  float load_float32(const float* p) const { return read<float>(p, 4); }
  float load_float(const void* p, int64_t i, Float type) const;
  void load_float_pair(const void* p, int64_t i, Float type, float* a, float* b) const;
  void store_float(void* p, int64_t i, Float type, float f) const;
  void store_partial(float* p, float f) const { *checked(p, 4) = f; }
  float load_partial(const float* p) const { return read<float>(p, 4); }
  uint32_t add_one(uint32_t* p) const { return (*checked(p, 4))++; }
  void clear(uint32_t* p) const { *checked(p, 4) = 0; }

  static uint32_t and_or(uint32_t a, uint32_t b, uint32_t c) { return (a & b) | c; }
  static float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  template <class Type>
  uint32_t add2(uint32_t a, uint32_t b) const;  // both halves, rounded to the type
  // mma.sync.m16n8k16 with the fragments of the PTX ISA; all 32 lanes of the warp have to come.
  template <class Type>
  void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

 private:
  template <class T>
  T read(const void* p, size_t alignment) const;
  template <class T>
  T* checked(T* p, size_t alignment) const;

  Block* block_;
  int32_t thread_;
};

// Device memory and what went wrong, of this process.
struct Device {
  struct Range {
    const char *begin, *end;
  };
  std::vector<Range> memory;
  std::string failure;  // the first one
  uint32_t seed = 1;    // of the next grid

  void add(const void* p, size_t bytes) {
    memory.push_back({static_cast<const char*>(p), static_cast<const char*>(p) + bytes});
  }
  void remove(const void* p) {
    std::erase_if(memory, [p](const Range& r) { return r.begin == p; });
  }
  void fail(const std::string& words) {
    if (failure.empty()) failure = words;
  }
};
Device& device();

// Runs body(ops) for every thread of `blocks` blocks, in an order drawn from device().seed, which it moves on.
void run_grid(int32_t blocks, int32_t threads, int32_t shared_floats, const std::function<void(HostOps&)>& body);

}  // namespace qz::cuda
