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

bool Device::has(const void* p, size_t bytes) const {
  const char* at = static_cast<const char*>(p);
  return bytes == 0 || std::any_of(memory.begin(), memory.end(),
                                   [&](const Range& r) { return at >= r.begin && at + bytes <= r.end; });
}

int32_t HostOps::block() const { return block_->index(); }
float* HostOps::shared() const { return block_->shared(); }
void HostOps::sync() { block_->sync(thread_); }

template <class T>
T* HostOps::checked(T* p, size_t alignment) const {
  static thread_local T nowhere;
  if (std::bit_cast<uintptr_t>(p) % alignment != 0) {
    device().fail("an access of " + std::to_string(sizeof(T)) + " bytes is not aligned");
  } else if (device().has(p, sizeof(T))) {
    return p;
  } else {
    device().fail("an access of " + std::to_string(sizeof(T)) + " bytes is outside of device memory");
  }
  nowhere = {};
  return &nowhere;
}
template float* HostOps::checked(float*, size_t) const;
template uint32_t* HostOps::checked(uint32_t*, size_t) const;
template uint8_t* HostOps::checked(uint8_t*, size_t) const;

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

template <class T>
T HostOps::from_shared(const void* p, size_t alignment) const {
  T value = {};
  if (!block_->has(p, sizeof value, alignment)) {
    device().fail("an access of " + std::to_string(sizeof value) +
                  " bytes is not aligned, or outside of shared memory");
  } else {
    std::memcpy(&value, p, sizeof value);
  }
  return value;
}
template HostOps::Words HostOps::from_shared(const void*, size_t) const;
template uint16_t HostOps::from_shared(const void*, size_t) const;
template uint32_t HostOps::from_shared(const void*, size_t) const;

void HostOps::shared_float_pair(const void* p, int64_t i, Float type, float* a, float* b) const {
  const auto width = static_cast<size_t>(float_bytes(type));
  const char* at = static_cast<const char*>(p) + i * float_bytes(type);
  *a = *b = std::numeric_limits<float>::quiet_NaN();
  if (!block_->has(at, 2 * width, 2 * width)) return device().fail("a pair of floats is not in shared memory");
  to_f32(at, DType(static_cast<int32_t>(type)), 1, a);
  to_f32(at + width, DType(static_cast<int32_t>(type)), 1, b);
}

namespace {

// of(which half) twice, rounded to the type, as one word.
template <class Type, class F>
uint32_t both_halves(F&& of) {
  constexpr const Type* kType = nullptr;
  uint32_t word = 0;
  for (int32_t which = 0; which < 2; ++which) word |= uint32_t{rounded(of(which, kType), kType)} << 16 * which;
  return word;
}

}  // namespace

template <class Type>
uint32_t HostOps::add2(uint32_t a, uint32_t b) const {
  return both_halves<Type>([&](int32_t i, const Type* type) { return half_of(a, i, type) + half_of(b, i, type); });
}
template uint32_t HostOps::add2<Half>(uint32_t, uint32_t) const;
template uint32_t HostOps::add2<Brain>(uint32_t, uint32_t) const;
template <class Type>
uint32_t HostOps::mul2(uint32_t a, uint32_t b) const {
  return both_halves<Type>([&](int32_t i, const Type* type) { return half_of(a, i, type) * half_of(b, i, type); });
}
template uint32_t HostOps::mul2<Half>(uint32_t, uint32_t) const;
template uint32_t HostOps::mul2<Brain>(uint32_t, uint32_t) const;
template <class Type>
uint32_t HostOps::scale2(uint32_t a, float b) const {
  return both_halves<Type>([&](int32_t i, const Type* type) { return half_of(a, i, type) * b; });
}
template uint32_t HostOps::scale2<Half>(uint32_t, float) const;
template uint32_t HostOps::scale2<Brain>(uint32_t, float) const;

namespace {

// PTX ISA 9.7.14.5.8: groupID = lane / 4, threadID_in_group = lane % 4.
using Tile = float[16][16];

template <class Type>
void take_a(const uint32_t* registers, int32_t lane, Tile& a) {
  for (int32_t i = 0; i < 8; ++i) {
    const int32_t row = lane / 4 + (i / 2 % 2 ? 8 : 0), col = lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0);
    a[row][col] = half_of(registers[i / 2], i % 2, static_cast<const Type*>(nullptr));
  }
}

template <class Type>
void multiply(Block&, int32_t, Block::Lane (&lanes)[32]) {
  Tile a;
  float b[16][8];
  for (int32_t lane = 0; lane < 32; ++lane) {
    take_a<Type>(static_cast<const uint32_t*>(lanes[lane].a), lane, a);
    for (int32_t i = 0; i < 4; ++i)
      b[lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0)][lane / 4] =
          half_of(static_cast<const uint32_t*>(lanes[lane].b)[i / 2], i % 2, static_cast<const Type*>(nullptr));
  }
  for (int32_t lane = 0; lane < 32; ++lane) {
    for (int32_t i = 0; i < 4; ++i) {
      const int32_t row = lane / 4 + (i >= 2 ? 8 : 0), col = lane % 4 * 2 + i % 2;
      float* c = static_cast<float*>(lanes[lane].out) + i;
      double sum = *c;
      for (int32_t k = 0; k < 16; ++k) sum += double{a[row][k]} * double{b[k][col]};
      *c = static_cast<float>(sum);
    }
  }
}

// PTX ISA, "Warp-level matrix load instruction: ldmatrix": register i of lane l has row l / 4 of matrix i, columns
// 2 (l % 4), + 1.
void gather(Block& block, int32_t, Block::Lane (&lanes)[32]) {
  for (int32_t matrix = 0; matrix < 4; ++matrix) {
    uint32_t banks = 0;
    for (int32_t row = 0; row < 8; ++row) {
      const void* at = lanes[matrix * 8 + row].a;
      if (!block.has(at, 16, 16)) return device().fail("a row of ldmatrix is not 16 aligned bytes of shared memory");
      const uint32_t group = 1u << (std::bit_cast<uintptr_t>(at) / 16 % 8);
      if (banks & group) ++device().conflicts;
      banks |= group;
      for (int32_t i = 0; i < 4; ++i)
        std::memcpy(static_cast<uint32_t*>(lanes[row * 4 + i].out) + matrix, static_cast<const char*>(at) + i * 4, 4);
    }
  }
}

void exchange(Block&, int32_t, Block::Lane (&lanes)[32]) {
  for (const Block::Lane& lane : lanes) {
    const int32_t from = *static_cast<const int32_t*>(lane.b);
    *static_cast<float*>(lane.out) = *static_cast<const float*>(lanes[from].a);
  }
}

constexpr int32_t kWide = 64;  // columns of the emulated wgmma

// PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions": a warp's 16 rows are held as by mma.m16n8k16, B is read
// through the descriptor when the product is made.
template <class Type>
void multiply_wide(Block& block, int32_t warp, Block::Lane (&lanes)[32]) {
  struct Work {
    Tile a;
    float before[32][kWide / 2];
    float* c[32];
    uint64_t descriptor;
  };
  auto work = std::make_shared<Work>();
  work->descriptor = *static_cast<const uint64_t*>(lanes[0].b);
  for (int32_t lane = 0; lane < 32; ++lane) {
    take_a<Type>(static_cast<const uint32_t*>(lanes[lane].a), lane, work->a);
    work->c[lane] = static_cast<float*>(lanes[lane].out);
    std::copy_n(work->c[lane], kWide / 2, work->before[lane]);
    if (*static_cast<const uint64_t*>(lanes[lane].b) != work->descriptor)
      device().fail("lanes of a warp have different descriptors");
  }
  if (work->descriptor >> 62 != 1 || (work->descriptor >> 32 & 0x3fff) != 1024 >> 4)
    return device().fail("a descriptor of another swizzle than 128 bytes");
  const auto product = [&block, work](bool follows) {
    const auto begin = static_cast<uint32_t>(work->descriptor & 0x3fff) << 4;
    for (int32_t lane = 0; lane < 32; ++lane) {
      for (int32_t i = 0; i < kWide / 2; ++i) {
        const int32_t row = lane / 4 + (i / 2 % 2 ? 8 : 0), col = i / 4 * 8 + lane % 4 * 2 + i % 2;
        double sum = follows ? work->c[lane][i] : work->before[lane][i];
        for (int32_t k = 0; k < 16; ++k) {
          uint32_t at = begin + static_cast<uint32_t>(col / 8 * 1024 + col % 8 * kTileRowBytes + k * 2);
          at ^= (at >> 7 & 7) << 4;
          const char* p = reinterpret_cast<const char*>(block.shared()) + at;
          if (!block.has(p, 2, 2)) return device().fail("wgmma reads outside of shared memory");
          uint16_t bits;
          std::memcpy(&bits, p, 2);
          sum += double{work->a[row][k]} * double{half_of(bits, 0, static_cast<const Type*>(nullptr))};
        }
        work->c[lane][i] = static_cast<float>(sum);
      }
    }
  };
  if (block.multiply_later(warp, work->c[0], product)) return;
  for (int32_t lane = 0; lane < 32; ++lane)
    std::fill_n(work->c[lane], kWide / 2, std::numeric_limits<float>::quiet_NaN());
}

void close_products(Block& block, int32_t warp, Block::Lane (&lanes)[32]) {
  const int32_t left = *static_cast<const int32_t*>(lanes[0].a);
  if (left < 0) return block.commit_products(warp);
  block.wait_products(warp, left);
}

}  // namespace

template <class Type>
void HostOps::mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  block_->meet(thread_, {c, a, b}, &multiply<Type>);
}
template void HostOps::mma<Half>(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]);
template void HostOps::mma<Brain>(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]);

float HostOps::shuffle(float f, int32_t from) {
  float found;
  block_->meet(thread_, {&found, &f, &from}, &exchange);
  return found;
}

void HostOps::load_matrices(const void* row, uint32_t (&r)[4]) { block_->meet(thread_, {r, row, nullptr}, &gather); }

template <class Type>
void HostOps::wgmma(float (&c)[32], const uint32_t (&a)[4], uint64_t descriptor) {
  block_->meet(thread_, {c, a, &descriptor}, &multiply_wide<Type>);
}
template void HostOps::wgmma<Half>(float (&)[32], const uint32_t (&)[4], uint64_t);
template void HostOps::wgmma<Brain>(float (&)[32], const uint32_t (&)[4], uint64_t);

uint64_t HostOps::descriptor(const void* tile) const {
  const auto from = static_cast<const char*>(tile) - reinterpret_cast<const char*>(block_->shared());
  return tile_descriptor(static_cast<uint32_t>(from));
}
void HostOps::meet_products(int32_t left) { block_->meet(thread_, {nullptr, &left, nullptr}, &close_products); }

void run_grid(int32_t blocks, int32_t threads, int32_t shared_floats, const std::function<void(HostOps&)>& body) {
  std::mt19937 random(device().seed++);
  std::vector<int32_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  for (const int32_t index : order) Block(index, threads, shared_floats, random()).run(body);
}

}  // namespace qz::cuda
