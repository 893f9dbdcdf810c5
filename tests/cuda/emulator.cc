#include "emulator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>

#include "tensor/convert.h"

namespace qz::cuda {

namespace {

constexpr size_t kStack = 64 << 10;

float half_of(uint32_t pair, int32_t which, const Half*) {
  return f16_to_f32(static_cast<uint16_t>(pair >> 16 * which));
}
float half_of(uint32_t pair, int32_t which, const Brain*) {
  return bf16_to_f32(static_cast<uint16_t>(pair >> 16 * which));
}
uint16_t rounded(float f, const Half*) { return f32_to_f16(f); }
uint16_t rounded(float f, const Brain*) { return f32_to_bf16(f); }

}  // namespace

Device& device() {
  static Device one;
  return one;
}

// Stacks are kept from block to block: touching new pages takes longer than the arithmetic.
char* stack_of(int32_t thread) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= static_cast<size_t>(thread)) stacks.emplace_back(new char[kStack]);
  return stacks[static_cast<size_t>(thread)].get();
}

// One block: its fibers and where they wait.
class Block {
 public:
  Block(int32_t index, int32_t threads, int32_t shared_floats, uint32_t seed)
      : index_(index), random_(seed), fibers_(static_cast<size_t>(threads)), warps_(static_cast<size_t>(threads / 32)) {
    shared_.assign(static_cast<size_t>(shared_floats), std::numeric_limits<float>::quiet_NaN());
  }

  int32_t index() const { return index_; }
  float* shared() { return shared_.data(); }

  void run(const std::function<void(HostOps&)>& body) {
    body_ = &body;
    alive_ = static_cast<int32_t>(fibers_.size());
    for (size_t i = 0; i < fibers_.size(); ++i) start(static_cast<int32_t>(i));
    while (alive_ > 0) {
      if (ready_.empty()) return device().fail("threads wait for others that do not come");
      const size_t pick = random_() % ready_.size();
      std::swap(ready_[pick], ready_.back());
      const int32_t next = ready_.back();
      ready_.pop_back();
      swapcontext(&scheduler_, &fibers_[static_cast<size_t>(next)]);
    }
  }

  void sync(int32_t thread) {
    at_barrier_.push_back(thread);
    if (static_cast<int32_t>(at_barrier_.size()) == alive_) {
      std::swap(ready_, at_barrier_);
    }
    wait(thread);
  }

  struct Lane {
    float* c;
    const uint32_t *a, *b;
    int32_t thread = -1;
  };

  // Deposits the lane's registers; the last of the warp computes for all.
  void meet(int32_t thread, const Lane& lane, void (*compute)(Lane (&)[32])) {
    Warp& warp = warps_[static_cast<size_t>(thread / 32)];
    warp.lanes[thread % 32] = lane;
    if (++warp.here < 32) return wait(thread);
    compute(warp.lanes);
    warp.here = 0;
    for (int32_t i = thread / 32 * 32; i < thread / 32 * 32 + 32; ++i)
      if (i != thread) ready_.push_back(i);
  }

 private:
  struct Warp {
    Lane lanes[32];
    int32_t here = 0;
  };

  void start(int32_t thread) {
    ucontext_t& context = fibers_[static_cast<size_t>(thread)];
    getcontext(&context);
    context.uc_stack.ss_sp = stack_of(thread);
    context.uc_stack.ss_size = kStack;
    context.uc_link = &scheduler_;
    const auto self = std::bit_cast<uint64_t>(this);
    makecontext(&context, reinterpret_cast<void (*)()>(&Block::enter), 3, static_cast<uint32_t>(self),
                static_cast<uint32_t>(self >> 32), static_cast<uint32_t>(thread));
    ready_.push_back(thread);
  }

  void wait(int32_t thread) { swapcontext(&fibers_[static_cast<size_t>(thread)], &scheduler_); }

  static void enter(uint32_t low, uint32_t high, uint32_t thread) {
    auto* block = std::bit_cast<Block*>(uint64_t{low} | uint64_t{high} << 32);
    HostOps ops(block, static_cast<int32_t>(thread));
    (*block->body_)(ops);
    --block->alive_;
    if (!block->at_barrier_.empty()) device().fail("a thread leaves while others wait at a barrier");
  }

  int32_t index_, alive_ = 0;
  std::mt19937 random_;
  std::vector<float> shared_;
  std::vector<ucontext_t> fibers_;
  std::vector<Warp> warps_;
  std::vector<int32_t> ready_, at_barrier_;
  const std::function<void(HostOps&)>* body_ = nullptr;
  ucontext_t scheduler_ = {};
};

int32_t HostOps::block() const { return block_->index(); }
float* HostOps::shared() const { return block_->shared(); }
void HostOps::sync() { block_->sync(thread_); }

template <class T>
T* HostOps::checked(T* p, size_t alignment) const {
  static thread_local T nowhere;
  const char* at = reinterpret_cast<const char*>(p);
  const auto holds = [at](const Device::Range& r) { return at >= r.begin && at + sizeof(T) <= r.end; };
  const std::vector<Device::Range>& memory = device().memory;
  if (std::bit_cast<uintptr_t>(p) % alignment != 0) {
    device().fail("an access of " + std::to_string(sizeof(T)) + " bytes is not aligned");
  } else if (std::any_of(memory.begin(), memory.end(), holds)) {
    return p;
  } else {
    device().fail("an access of " + std::to_string(sizeof(T)) + " bytes is outside of device memory");
  }
  nowhere = {};
  return &nowhere;
}
template float* HostOps::checked(float*, size_t) const;
template uint32_t* HostOps::checked(uint32_t*, size_t) const;

template <class T>
T HostOps::read(const void* p, size_t alignment) const {
  T value;
  std::memcpy(&value, checked(static_cast<T*>(const_cast<void*>(p)), alignment), sizeof value);
  return value;
}
template HostOps::Words HostOps::read(const void*, size_t) const;
template uint32_t HostOps::read(const void*, size_t) const;
template uint16_t HostOps::read(const void*, size_t) const;
template uint8_t HostOps::read(const void*, size_t) const;
template float HostOps::read(const void*, size_t) const;

float HostOps::load_float(const void* p, int64_t i, Float type) const {
  if (type == Float::kF32) return load_float32(static_cast<const float*>(p) + i);
  const uint16_t v = load_2(static_cast<const uint16_t*>(p) + i);
  return type == Float::kF16 ? f16_to_f32(v) : bf16_to_f32(v);
}

void HostOps::load_float_pair(const void* p, int64_t i, Float type, float* a, float* b) const {
  const char* at = static_cast<const char*>(p) + i * float_bytes(type);
  if (std::bit_cast<uintptr_t>(at) % static_cast<size_t>(2 * float_bytes(type)) != 0)
    device().fail("a pair of floats is not aligned");
  *a = load_float(p, i, type);
  *b = load_float(p, i + 1, type);
}

void HostOps::store_float(void* p, int64_t i, Float type, float f) const {
  if (type == Float::kF32) {
    *checked(static_cast<float*>(p) + i, 4) = f;
  } else {
    *checked(static_cast<uint16_t*>(p) + i, 2) = type == Float::kF16 ? f32_to_f16(f) : f32_to_bf16(f);
  }
}

template <class Type>
uint32_t HostOps::add2(uint32_t a, uint32_t b) const {
  constexpr const Type* kType = nullptr;
  uint32_t sum = 0;
  for (int32_t which = 0; which < 2; ++which)
    sum |= uint32_t{rounded(half_of(a, which, kType) + half_of(b, which, kType), kType)} << 16 * which;
  return sum;
}
template uint32_t HostOps::add2<Half>(uint32_t, uint32_t) const;
template uint32_t HostOps::add2<Brain>(uint32_t, uint32_t) const;

namespace {

// PTX ISA 9.7.14.5.8: groupID = lane / 4, threadID_in_group = lane % 4.
template <class Type>
void multiply(Block::Lane (&lanes)[32]) {
  constexpr const Type* kType = nullptr;
  float a[16][16], b[16][8];
  for (int32_t lane = 0; lane < 32; ++lane) {
    for (int32_t i = 0; i < 8; ++i) {
      const int32_t row = lane / 4 + (i / 2 % 2 ? 8 : 0), col = lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0);
      a[row][col] = half_of(lanes[lane].a[i / 2], i % 2, kType);
    }
    for (int32_t i = 0; i < 4; ++i)
      b[lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0)][lane / 4] = half_of(lanes[lane].b[i / 2], i % 2, kType);
  }
  for (int32_t lane = 0; lane < 32; ++lane) {
    for (int32_t i = 0; i < 4; ++i) {
      const int32_t row = lane / 4 + (i >= 2 ? 8 : 0), col = lane % 4 * 2 + i % 2;
      double sum = lanes[lane].c[i];
      for (int32_t k = 0; k < 16; ++k) sum += double{a[row][k]} * double{b[k][col]};
      lanes[lane].c[i] = static_cast<float>(sum);
    }
  }
}

}  // namespace

template <class Type>
void HostOps::mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  block_->meet(thread_, {c, a, b, thread_}, &multiply<Type>);
}
template void HostOps::mma<Half>(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]);
template void HostOps::mma<Brain>(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]);

void run_grid(int32_t blocks, int32_t threads, int32_t shared_floats, const std::function<void(HostOps&)>& body) {
  std::mt19937 random(device().seed++);
  std::vector<int32_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  for (const int32_t index : order) Block(index, threads, shared_floats, random()).run(body);
}

}  // namespace qz::cuda
