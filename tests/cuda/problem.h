// A product on the emulated device: a random matrix in bricks, tokens with NaN wherever nothing may be read, the result
// in double precision.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../unit/packed/random_matrix.h"
#include "emulator.h"
#include "packed/bricks.h"
#include "packed/layout.h"

namespace qz::cuda {

inline Float float_of(DType type) {
  return type == DType::kF32 ? Float::kF32 : type == DType::kF16 ? Float::kF16 : Float::kBF16;
}

// Memory that the device sees while this lives; 256-byte aligned, as a device's is.
class DeviceArray {
 public:
  explicit DeviceArray(size_t bytes, int fill = 0xff) : bytes_(bytes) {
    data_ = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(data_, fill, bytes);
    device().add(data_, bytes);
  }
  DeviceArray(const void* from, size_t bytes) : DeviceArray(bytes) {
    if (bytes) std::memcpy(data_, from, bytes);
  }
  ~DeviceArray() {
    device().remove(data_);
    std::free(data_);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

struct Problem {
  QMatrix matrix;
  Bricks bricks;
  std::vector<float> weights;  // [rows][cols]
  std::unique_ptr<DeviceArray> codes, scales, zeros;

  Problem(int64_t rows, int64_t cols, const char* scheme, DType scale, uint32_t seed) {
    Scheme s = *scheme_preset(scheme);
    s.scale = scale;
    matrix = random_matrix(rows, cols, s, seed);
    auto laid = lay_bricks(*make_context(1), matrix);
    EXPECT_TRUE(laid.ok()) << laid.status().text();
    bricks = std::move(*laid);
    weights.resize(static_cast<size_t>(rows * cols));
    for (int64_t r = 0; r < rows; ++r) dequantize_row(matrix, r, weights.data() + r * cols);
    codes = std::make_unique<DeviceArray>(bricks.codes.data(), bricks.codes.size());
    scales = std::make_unique<DeviceArray>(bricks.scales.data(), bricks.scales.size());
    if (!bricks.zeros.empty()) zeros = std::make_unique<DeviceArray>(bricks.zeros.data(), bricks.zeros.size());
  }
  Weights view() const {
    return {codes->as<uint32_t>(),
            scales->as<void>(),
            zeros ? zeros->as<uint8_t>() : nullptr,
            static_cast<int32_t>(bricks.rows),
            static_cast<int32_t>(bricks.cols),
            static_cast<int32_t>(brick_groups(bricks.cols, bricks.group)),
            bricks.group,
            bricks.zero,
            float_of(bricks.scale_type)};
  }
};

// [m][stride] tokens of F16 or BF16, NaN between the rows and behind the last.
struct Tokens {
  int64_t m, cols, stride;
  DType type;
  std::vector<float> values;  // [m][cols], as they are stored
  std::unique_ptr<DeviceArray> memory;

  Tokens(int64_t count, int64_t width, DType dtype, uint32_t seed) : m(count), cols(width), type(dtype) {
    stride = (cols + 8 + 7) / 8 * 8;
    memory = std::make_unique<DeviceArray>(static_cast<size_t>(((m - 1) * stride + cols) * 2));
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int64_t t = 0; t < m; ++t) {
      for (int64_t c = 0; c < cols; ++c) {
        values.push_back(round_to(normal(random), type));
        from_f32(&values.back(), type, 1, memory->as<uint16_t>() + t * stride + c);
      }
    }
  }
};

// Largest error of y [m][rows] (row t at t * stride) in units of what float32 sums and one rounding to `type` may cost.
inline double worst_error(const Problem& p, const Tokens& x, const std::vector<float>& bias, const void* y, DType type,
                          int64_t stride) {
  const int64_t rows = p.bricks.rows, cols = p.bricks.cols;
  const double unit = type == DType::kF32 ? 0 : type == DType::kF16 ? 0x1p-11 : 0x1p-8;
  double worst = 0;
  for (int64_t t = 0; t < x.m; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      double want = bias.empty() ? 0 : double{bias[static_cast<size_t>(r)]}, size = std::fabs(want);
      for (int64_t c = 0; c < cols; ++c) {
        const double term =
            double{p.weights[static_cast<size_t>(r * cols + c)]} * double{x.values[static_cast<size_t>(t * cols + c)]};
        want += term, size += std::fabs(term);
      }
      float found;
      to_f32(static_cast<const char*>(y) + (t * stride + r) * static_cast<int64_t>(dtype_bits(type) / 8), type, 1,
             &found);
      const double room = size * 0x1p-20 + std::fabs(want) * unit + 1e-7;
      if (!(std::fabs(double{found} - want) <= room * worst)) worst = std::fabs(double{found} - want) / room;
      if (!std::isfinite(found)) return std::numeric_limits<double>::infinity();
    }
  }
  return worst;
}

}  // namespace qz::cuda
