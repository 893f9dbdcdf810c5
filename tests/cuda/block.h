// One block of threads of the emulated GPU: its fibers, where they wait, its shared memory, and the copies and products
// that run beside them.
//
// What is asynchronous on the hardware is asynchronous here, and hostile: the destination is filled with NaN when a
// copy is issued; the bytes arrive in pieces, in random order, at the switches between threads of some blocks and only
// at the wait for them in others. A wait that is missing, or a buffer that is filled again while somebody still reads
// it, gives NaN or another result, not a race that goes well by chance.
#pragma once
#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <vector>

namespace qz::cuda {

class HostOps;

class Block {
 public:
  Block(int32_t index, int32_t threads, int32_t shared_floats, uint32_t seed);

  int32_t index() const { return index_; }
  float* shared() { return reinterpret_cast<float*>(shared_.data()); }
  // Whether [p, p + bytes) is shared memory, at a multiple of `alignment`.
  bool has(const void* p, size_t bytes, size_t alignment) const;
  void run(const std::function<void(HostOps&)>& body);

  void sync(int32_t thread);
  // What one lane brings to an instruction of its warp, and where it takes the result.
  struct Lane {
    void* out;
    const void *a, *b;
  };
  // The last lane of the warp computes for all. One warp's lanes at different instructions are a failure.
  using Compute = void (*)(Block&, int32_t warp, Lane (&)[32]);
  void meet(int32_t thread, const Lane& lane, Compute compute);

  // cp.async: `bytes` of the 16 are copied, the others become zero.
  void copy_16(int32_t thread, void* to, const void* from, int32_t bytes);
  void commit(int32_t thread);
  void wait_copies(int32_t thread, int32_t left);

  // mbarrier and cp.async.bulk: a phase ends when all arrivals and all bytes that were expected are there.
  void init_barrier(int32_t thread, uint64_t* barrier, int32_t count);
  void arrive(int32_t thread, uint64_t* barrier, int32_t expected_bytes);
  void wait_phase(int32_t thread, uint64_t* barrier, uint32_t parity);
  void copy_bulk(int32_t thread, void* to, const void* from, int32_t bytes, uint64_t* barrier);

  // wgmma: product() runs later, in the order of issue of its warp, at the latest when the warp waits for it. True: the
  // sums at `target` are what an earlier one will leave there.
  bool multiply_later(int32_t warp, const void* target, std::function<void(bool)> product);
  void commit_products(int32_t warp);
  void wait_products(int32_t warp, int32_t left);

 private:
  struct Product {
    std::function<void(bool)> run;
    const void* target;
    bool follows;
    int32_t group;
  };
  struct Warp {
    Lane lanes[32];
    Compute compute = nullptr;
    int32_t here = 0;
    std::vector<Product> products;
    int32_t groups = 0;
  };
  struct Copy {
    char* to;
    const char* from;
    int32_t bytes, zeros;
    int32_t thread, group;  // of cp.async
    uint64_t* barrier;      // of bulk copies
  };
  struct Barrier {
    int32_t count = 0, pending = 0;
    int64_t bytes = 0;  // expected and not there yet
    uint32_t phase = 0;
    int32_t owner = 0;   // who made it; others see it after a barrier of the block
    uint64_t syncs = 0;  // of the block, by then
    std::vector<int32_t> waiting;
  };

  void start(int32_t thread);
  void wait(int32_t thread) { swapcontext(&fibers_[static_cast<size_t>(thread)], &scheduler_); }
  static void enter(uint32_t low, uint32_t high, uint32_t thread);
  void land(size_t which);
  void land_some();
  void finish_product(Warp& warp);
  Barrier* barrier_of(int32_t thread, uint64_t* barrier);
  void end_phase(Barrier& b);

  int32_t index_, alive_ = 0;
  std::mt19937 random_;
  bool late_;  // nothing arrives before the wait for it
  std::vector<uint64_t> shared_memory_;
  struct Span {
    char *begin, *end;
    char* data() const { return begin; }
  } shared_ = {};
  std::vector<ucontext_t> fibers_;
  std::vector<Warp> warps_;
  std::vector<int32_t> ready_, at_barrier_;
  std::vector<Copy> flying_;
  std::vector<int32_t> commits_;  // of each thread
  std::map<const uint64_t*, Barrier> barriers_;
  uint64_t syncs_ = 0;
  const std::function<void(HostOps&)>* body_ = nullptr;
  ucontext_t scheduler_ = {};
};

}  // namespace qz::cuda
