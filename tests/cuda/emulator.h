// A GPU on the host, slow and strict: the bodies of the kernels (cuda/*.h) run with these operations instead of PTX.
// Each thread is a fiber; which one goes on at a barrier or a matrix product is drawn at random, so that what depends
// on an order that nothing guarantees shows up between two seeds. Device memory is what was registered: reading or
// writing anything else, or at the wrong alignment, is a failure with words. Shared memory starts as NaN, and is NaN
// again where an asynchronous copy has not arrived (block.h).
#pragma once
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "args.h"
#include "block.h"
#include "expand.h"
#include "swizzle.h"

namespace qz::cuda {

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

  Words shared_words(const void* p) const { return from_shared<Words>(p, 16); }
  uint32_t shared_4(const void* p) const { return from_shared<uint32_t>(p, 4); }
  uint16_t shared_2(const void* p) const { return from_shared<uint16_t>(p, 2); }
  void shared_float_pair(const void* p, int64_t i, Float type, float* a, float* b) const;

  // cp.async of 16 bytes, those from `bytes` on zero: nothing of `from` behind is read.
  void copy_16(void* to, const void* from, int32_t bytes) { block_->copy_16(thread_, to, from, bytes); }
  void commit_copies() { block_->commit(thread_); }
  template <int32_t kLeft>
  void wait_copies() {  // for all but the last kLeft commits of this thread
    block_->wait_copies(thread_, kLeft);
  }
  void init_barrier(uint64_t* barrier, int32_t count) { block_->init_barrier(thread_, barrier, count); }
  void fence_barriers() {}
  void arrive(uint64_t* barrier) { block_->arrive(thread_, barrier, 0); }
  void arrive_expecting(uint64_t* barrier, int32_t bytes) { block_->arrive(thread_, barrier, bytes); }
  void wait_phase(uint64_t* barrier, uint32_t parity) { block_->wait_phase(thread_, barrier, parity); }
  void copy_bulk(void* to, const void* from, int32_t bytes, uint64_t* barrier) {
    block_->copy_bulk(thread_, to, from, bytes, barrier);
  }
  // ldmatrix.x4: lane l names row l % 8 of the l / 8-th of four matrices of 8 x 8.
  void load_matrices(const void* row, uint32_t (&r)[4]);

  static uint32_t and_or(uint32_t a, uint32_t b, uint32_t c) { return (a & b) | c; }
  static float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static float add(float a, float b) { return a + b; }
  static float mul(float a, float b) { return a * b; }
  static float div(float a, float b) { return a / b; }
  float shuffle(float f, int32_t from);  // of all lanes: what lane `from` brings
  void store_8(uint8_t* p, uint8_t v) const { *checked(p, 1) = v; }
  template <class Type>
  uint32_t add2(uint32_t a, uint32_t b) const;  // both halves, rounded to the type
  template <class Type>
  uint32_t mul2(uint32_t a, uint32_t b) const;
  template <class Type>
  uint32_t scale2(uint32_t a, float b) const;
  // mma.sync.m16n8k16 with the fragments of the PTX ISA; all 32 lanes of the warp have to come.
  template <class Type>
  void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
  // wgmma.m64n64k16 with A in registers; a warp has its 16 rows. c is NaN until wait_products().
  template <class Type>
  void wgmma(float (&c)[32], const uint32_t (&a)[4], uint64_t descriptor);
  uint64_t descriptor(const void* tile) const;
  void fence_copies() {}
  void fence_products() {}
  void settle(float (&)[32]) {}
  void commit_products() { meet_products(-1); }
  template <int32_t kLeft>
  void wait_products() {
    meet_products(kLeft);
  }

 private:
  template <class T>
  T from_shared(const void* p, size_t alignment) const;
  void meet_products(int32_t left);
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
  std::string failure;     // the first one
  uint64_t conflicts = 0;  // of banks, by load_matrices()
  uint32_t seed = 1;       // of the next grid

  void add(const void* p, size_t bytes) {
    memory.push_back({static_cast<const char*>(p), static_cast<const char*>(p) + bytes});
  }
  void remove(const void* p) {
    std::erase_if(memory, [p](const Range& r) { return r.begin == p; });
  }
  bool has(const void* p, size_t bytes) const;
  void fail(const std::string& words) {
    if (failure.empty()) failure = words;
  }
};
Device& device();

// Runs body(ops) for every thread of `blocks` blocks, in an order drawn from device().seed, which it moves on.
void run_grid(int32_t blocks, int32_t threads, int32_t shared_floats, const std::function<void(HostOps&)>& body);

}  // namespace qz::cuda
