// Any CPU: products with weights of few bits, one code at a time. The specification of the other files.
#include "kernels/low_bit_kernels.h"
#include "tensor/convert.h"

namespace qz {
namespace {

float element(const void* values, DType type, int64_t i) {
  float value = 0;
  const auto bytes = static_cast<int64_t>(dtype_bits(type) / 8);
  to_f32(static_cast<const uint8_t*>(values) + i * bytes, type, 1, &value);
  return value;
}

int32_t code_at(const TileView& w, int64_t place, int64_t row) {
  const TileLayout layout = tile_layout(w.bits);
  const uint32_t* unit = w.lines + place / layout.columns * layout.lines * kLineWords;
  int32_t code = 0;
  for (int32_t b = 0; b < w.bits; ++b) {
    const BitPlace at = bit_place(w.bits, static_cast<int32_t>(place % layout.columns), b);
    code |= static_cast<int32_t>(unit[at.line * kLineWords + row] >> at.bit & 1) << b;
  }
  return code;
}

float value_at(const TileView& w, int64_t place, int64_t row) {
  const int32_t code = code_at(w, place, row);
  return w.bits == 8 ? static_cast<float>(code - 128) : w.table[code];
}

void product(const TileView& w, const float* x, const float* sums, int64_t columns, float* out) {
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < kTileRows; ++r) {
      float total = 0;
      for (int64_t g = 0; g < w.groups; ++g) {
        float sum = 0;
        for (int64_t k = w.starts[g]; k < w.starts[g + 1]; ++k) sum += value_at(w, k, r) * x[k * columns + c];
        const int64_t at = g * kTileRows + r;
        if (w.offsets) sum -= element(w.offsets, w.offset_type, at) * sums[g * columns + c];
        total += element(w.scales, w.scale_type, at) * sum;
      }
      out[c * kTileRows + r] = total;
    }
  }
}

void expand(const TileView& w, int64_t begin, int64_t end, float* out, int64_t stride) {
  int64_t g = 0;
  for (int64_t k = begin; k < end; ++k) {
    while (k >= w.starts[g + 1]) ++g;
    for (int64_t r = 0; r < kTileRows; ++r) {
      const int64_t at = g * kTileRows + r;
      const float offset = w.offsets ? element(w.offsets, w.offset_type, at) : 0.0f;
      out[(k - begin) * stride + r] = (value_at(w, k, r) - offset) * element(w.scales, w.scale_type, at);
    }
  }
}

void product_bytes(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums, int64_t columns,
                   float* out) {
  const TileLayout layout = tile_layout(w.bits);
  const int32_t words = layout.columns / 4, base = w.bits == 8 ? 128 : -static_cast<int32_t>(w.table[0]);
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < kTileRows; ++r) {
      float total = 0;
      for (int64_t g = 0; g < w.groups; ++g) {
        int32_t sum = 0;
        for (int64_t k = w.starts[g]; k < w.starts[g + 1]; k += layout.columns) {
          for (int32_t j = 0; j < words; ++j) {
            const uint32_t four = x[(k / 4 + j) * columns + c];
            for (int32_t b = 0; b < 4; ++b) {
              const auto code = static_cast<int8_t>(four >> (8 * b) & 0xFF);
              sum += code_at(w, k + byte_place(w.bits, j, b), r) * code;
            }
          }
        }
        const int32_t x_sum = sums[g * columns + c];
        const int64_t at = g * kTileRows + r;
        auto exact = static_cast<float>(sum - base * x_sum);
        if (w.offsets) exact -= element(w.offsets, w.offset_type, at) * static_cast<float>(x_sum);
        total += element(w.scales, w.scale_type, at) * factors[g * columns + c] * exact;
      }
      out[c * kTileRows + r] = total;
    }
  }
}

}  // namespace

extern const LowBitKernels kLowBitRef;
extern const LowBitByteKernels kLowBitBytesRef;
const LowBitKernels kLowBitRef = {product, expand};
const LowBitByteKernels kLowBitBytesRef = {product_bytes};

}  // namespace qz
