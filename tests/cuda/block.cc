#include "block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "emulator.h"

namespace qz::cuda {
namespace {

constexpr size_t kStack = 64 << 10;
constexpr size_t kSharedAlignment = 1024;  // the most that a swizzled operand asks for

// Stacks are kept from block to block: touching new pages takes longer than the arithmetic.
char* stack_of(int32_t thread) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= static_cast<size_t>(thread)) stacks.emplace_back(new char[kStack]);
  return stacks[static_cast<size_t>(thread)].get();
}

}  // namespace

Block::Block(int32_t index, int32_t threads, int32_t shared_floats, uint32_t seed)
    : index_(index), random_(seed), fibers_(static_cast<size_t>(threads)), warps_(static_cast<size_t>(threads / 32)) {
  late_ = random_() % 2 == 0;
  const size_t bytes = static_cast<size_t>(shared_floats) * sizeof(float);
  shared_memory_.assign((bytes + kSharedAlignment) / 8 + 1, ~uint64_t{0});  // NaN, whatever type it is read as
  const auto at = std::bit_cast<uintptr_t>(shared_memory_.data());
  auto* memory = reinterpret_cast<char*>(shared_memory_.data());
  shared_.begin = memory + ((at + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment - at);
  shared_.end = shared_.begin + bytes;
  commits_.assign(fibers_.size(), 0);
}

bool Block::has(const void* p, size_t bytes, size_t alignment) const {
  const char* at = static_cast<const char*>(p);
  return at >= shared_.begin && at + bytes <= shared_.end && std::bit_cast<uintptr_t>(p) % alignment == 0;
}

void Block::run(const std::function<void(HostOps&)>& body) {
  body_ = &body;
  alive_ = static_cast<int32_t>(fibers_.size());
  for (size_t i = 0; i < fibers_.size(); ++i) start(static_cast<int32_t>(i));
  while (alive_ > 0) {
    if (!late_) land_some();
    // Threads that wait for bytes get them now: nothing else goes on.
    while (ready_.empty() && !flying_.empty()) land(random_() % flying_.size());
    if (ready_.empty()) return device().fail("threads wait for others that do not come");
    const size_t pick = random_() % ready_.size();
    std::swap(ready_[pick], ready_.back());
    const int32_t next = ready_.back();
    ready_.pop_back();
    swapcontext(&scheduler_, &fibers_[static_cast<size_t>(next)]);
  }
  if (!flying_.empty()) device().fail("a block ends before its copies have arrived");
  for (const Warp& warp : warps_)
    if (!warp.products.empty()) device().fail("a block ends before its products are there");
}

void Block::start(int32_t thread) {
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

void Block::enter(uint32_t low, uint32_t high, uint32_t thread) {
  auto* block = std::bit_cast<Block*>(uint64_t{low} | uint64_t{high} << 32);
  HostOps ops(block, static_cast<int32_t>(thread));
  (*block->body_)(ops);
  --block->alive_;
  if (!block->at_barrier_.empty()) device().fail("a thread leaves while others wait at a barrier");
}

void Block::sync(int32_t thread) {
  at_barrier_.push_back(thread);
  if (static_cast<int32_t>(at_barrier_.size()) == alive_) {
    ++syncs_;
    ready_.insert(ready_.end(), at_barrier_.begin(), at_barrier_.end());
    at_barrier_.clear();
  }
  wait(thread);
}

void Block::meet(int32_t thread, const Lane& lane, Compute compute) {
  Warp& warp = warps_[static_cast<size_t>(thread / 32)];
  if (warp.here > 0 && warp.compute != compute) {
    device().fail("lanes of a warp are at different instructions");
    return wait(thread);  // for ever
  }
  warp.compute = compute;
  warp.lanes[thread % 32] = lane;
  if (++warp.here < 32) return wait(thread);
  compute(*this, thread / 32, warp.lanes);
  warp.here = 0;
  for (int32_t i = thread / 32 * 32; i < thread / 32 * 32 + 32; ++i)
    if (i != thread) ready_.push_back(i);
}

void Block::land(size_t which) {
  const Copy copy = flying_[which];
  flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(which));
  if (copy.bytes) std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
  std::memset(copy.to + copy.bytes, 0, static_cast<size_t>(copy.zeros));
  if (!copy.barrier) return;
  Barrier& b = barriers_[copy.barrier];
  b.bytes -= copy.bytes;
  end_phase(b);
}

void Block::land_some() {
  for (uint32_t draws = random_() % 4; draws > 0 && !flying_.empty(); --draws) land(random_() % flying_.size());
  Warp& warp = warps_[random_() % warps_.size()];
  if (!warp.products.empty() && random_() % 8 == 0) finish_product(warp);
}

void Block::copy_16(int32_t thread, void* to, const void* from, int32_t bytes) {
  if (!has(to, 16, 16)) return device().fail("an asynchronous copy to what is not 16 aligned bytes of shared memory");
  if (bytes < 0 || bytes > 16) return device().fail("an asynchronous copy of more than 16 bytes");
  if (std::bit_cast<uintptr_t>(from) % 16 != 0) return device().fail("an asynchronous copy from an odd address");
  if (!device().has(from, static_cast<size_t>(bytes)))
    return device().fail("an asynchronous copy from outside of device memory");
  std::memset(to, 0xff, 16);
  flying_.push_back({static_cast<char*>(to), static_cast<const char*>(from), bytes, 16 - bytes, thread, -1, nullptr});
}

void Block::commit(int32_t thread) {
  int32_t& group = commits_[static_cast<size_t>(thread)];
  for (Copy& copy : flying_)
    if (!copy.barrier && copy.thread == thread && copy.group < 0) copy.group = group;
  ++group;
}

void Block::wait_copies(int32_t thread, int32_t left) {
  const int32_t until = commits_[static_cast<size_t>(thread)] - left;
  for (size_t i = flying_.size(); i > 0; --i) {
    const Copy& copy = flying_[i - 1];
    if (!copy.barrier && copy.thread == thread && copy.group >= 0 && copy.group < until) land(i - 1);
  }
}

Block::Barrier* Block::barrier_of(int32_t thread, uint64_t* barrier) {
  const auto it = barriers_.find(barrier);
  if (it == barriers_.end()) {
    device().fail("a barrier that was not initialized");
    return nullptr;
  }
  if (it->second.owner != thread && it->second.syncs == syncs_)
    device().fail("a barrier is used by a thread that cannot know that it is initialized");
  return &it->second;
}

void Block::init_barrier(int32_t thread, uint64_t* barrier, int32_t count) {
  if (!has(barrier, 8, 8)) return device().fail("a barrier that is not 8 aligned bytes of shared memory");
  Barrier& b = barriers_[barrier];
  b = {};
  b.count = b.pending = count;
  b.owner = thread;
  b.syncs = syncs_;
}

void Block::end_phase(Barrier& b) {
  if (b.pending != 0 || b.bytes != 0) return;
  ++b.phase;
  b.pending = b.count;
  ready_.insert(ready_.end(), b.waiting.begin(), b.waiting.end());
  b.waiting.clear();
}

void Block::arrive(int32_t thread, uint64_t* barrier, int32_t expected_bytes) {
  Barrier* b = barrier_of(thread, barrier);
  if (!b) return;
  if (b->pending == 0) return device().fail("more arrivals at a barrier than it was made for");
  b->bytes += expected_bytes;
  --b->pending;
  end_phase(*b);
}

void Block::wait_phase(int32_t thread, uint64_t* barrier, uint32_t parity) {
  Barrier* b = barrier_of(thread, barrier);
  while (b && b->phase % 2 == parity) {
    b->waiting.push_back(thread);
    wait(thread);
  }
}

void Block::copy_bulk(int32_t thread, void* to, const void* from, int32_t bytes, uint64_t* barrier) {
  if (!barrier_of(thread, barrier)) return;
  if (bytes <= 0 || bytes % 16 != 0) return device().fail("a bulk copy that is not a multiple of 16 bytes");
  if (!has(to, static_cast<size_t>(bytes), 16)) return device().fail("a bulk copy to outside of shared memory");
  if (std::bit_cast<uintptr_t>(from) % 16 != 0 || !device().has(from, static_cast<size_t>(bytes)))
    return device().fail("a bulk copy from an odd address or outside of device memory");
  std::memset(to, 0xff, static_cast<size_t>(bytes));
  const int32_t piece = std::max(16, bytes / 64 * 16);
  for (int32_t at = 0; at < bytes; at += piece)
    flying_.push_back({static_cast<char*>(to) + at, static_cast<const char*>(from) + at, std::min(piece, bytes - at), 0,
                       thread, -1, barrier});
}

bool Block::multiply_later(int32_t warp, const void* target, std::function<void(bool)> product) {
  std::vector<Product>& products = warps_[static_cast<size_t>(warp)].products;
  const bool follows =
      std::any_of(products.begin(), products.end(), [target](const Product& p) { return p.target == target; });
  products.push_back({std::move(product), target, follows, -1});
  return follows;
}

void Block::commit_products(int32_t warp) {
  Warp& w = warps_[static_cast<size_t>(warp)];
  for (Product& product : w.products)
    if (product.group < 0) product.group = w.groups;
  ++w.groups;
}

void Block::finish_product(Warp& warp) {
  const Product product = std::move(warp.products.front());
  warp.products.erase(warp.products.begin());
  product.run(product.follows);
}

void Block::wait_products(int32_t warp, int32_t left) {
  Warp& w = warps_[static_cast<size_t>(warp)];
  while (!w.products.empty() && w.products.front().group >= 0 && w.products.front().group < w.groups - left)
    finish_product(w);
}

}  // namespace qz::cuda
