#include "format/bits.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/checked.h"
#include "base/simd.h"

namespace qz {
namespace {

// Widths that divide 8 have a loop that the compiler vectorizes; n is a number of whole bytes.
QZ_SIMD_CLONES
void pack_nibbles(const uint8_t* codes, int64_t bytes, uint8_t* out) {
  for (int64_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(codes[2 * i] | codes[2 * i + 1] << 4);
}

QZ_SIMD_CLONES
void unpack_nibbles(const uint8_t* in, int64_t bytes, uint8_t* codes) {
  for (int64_t i = 0; i < bytes; ++i) {
    codes[2 * i] = in[i] & 15;
    codes[2 * i + 1] = in[i] >> 4;
  }
}

// Eight codes fill exactly `bits` bytes.
void pack_eight(const uint8_t* codes, int32_t bits, uint8_t* out) {
  uint64_t word = 0;
  for (int32_t i = 0; i < 8; ++i) word |= static_cast<uint64_t>(codes[i]) << (i * bits);
  std::memcpy(out, &word, static_cast<size_t>(bits));
}

void unpack_eight(const uint8_t* in, int32_t bits, uint8_t* codes) {
  uint64_t word = 0;
  std::memcpy(&word, in, static_cast<size_t>(bits));
  const uint64_t mask = (1u << bits) - 1;
  for (int32_t i = 0; i < 8; ++i) codes[i] = static_cast<uint8_t>(word >> (i * bits) & mask);
}

void pack_stream(const uint8_t* codes, int64_t n, int32_t bits, uint8_t* out, int64_t out_bytes) {
  if (n == 0) return;
  int64_t done = n / 8 * 8;
  if (bits == 8) {
    done = n;
    std::memcpy(out, codes, static_cast<size_t>(n));
  } else if (bits == 4) {
    pack_nibbles(codes, done / 2, out);
  } else {
    for (int64_t i = 0; i < done; i += 8) pack_eight(codes + i, bits, out + i / 8 * bits);
  }
  const int64_t filled = done * bits / 8;
  std::memset(out + filled, 0, static_cast<size_t>(out_bytes - filled));
  if (done == n) return;
  uint8_t last[8] = {}, bytes[8] = {};
  std::memcpy(last, codes + done, static_cast<size_t>(n - done));
  pack_eight(last, bits, bytes);
  std::memcpy(out + filled, bytes, static_cast<size_t>(ceil_div((n - done) * bits, 8)));
}

void unpack_stream(const uint8_t* in, int64_t n, int32_t bits, uint8_t* codes) {
  if (n == 0) return;
  int64_t done = n / 8 * 8;
  if (bits == 8) {
    done = n;
    std::memcpy(codes, in, static_cast<size_t>(n));
  } else if (bits == 4) {
    unpack_nibbles(in, done / 2, codes);
  } else {
    for (int64_t i = 0; i < done; i += 8) unpack_eight(in + i / 8 * bits, bits, codes + i);
  }
  if (done == n) return;
  uint8_t last[8], bytes[8] = {};
  std::memcpy(bytes, in + done * bits / 8, static_cast<size_t>(ceil_div((n - done) * bits, 8)));
  unpack_eight(bytes, bits, last);
  std::memcpy(codes + done, last, static_cast<size_t>(n - done));
}

void pack_padded(const uint8_t* codes, int64_t n, int32_t bits, uint8_t* out) {
  const int64_t each = 32 / bits;
  for (int64_t i = 0; i < n; i += each, out += 4) {
    uint32_t word = 0;
    for (int64_t j = 0; j < std::min(each, n - i); ++j) word |= static_cast<uint32_t>(codes[i + j]) << (j * bits);
    std::memcpy(out, &word, 4);
  }
}

void unpack_padded(const uint8_t* in, int64_t n, int32_t bits, uint8_t* codes) {
  const int64_t each = 32 / bits;
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t i = 0; i < n; i += each, in += 4) {
    uint32_t word;
    std::memcpy(&word, in, 4);
    for (int64_t j = 0; j < std::min(each, n - i); ++j) codes[i + j] = static_cast<uint8_t>(word >> (j * bits) & mask);
  }
}

// Calls f(plane width, its offset within the code, its first byte) for each plane of 32 codes.
template <class F>
void each_plane(int32_t bits, F&& f) {
  int32_t offset = 0;
  for (int32_t width : {8, 4, 2, 1})
    if (bits & width) {
      f(width, offset, offset * 4);
      offset += width;
    }
}

void pack_planar(const uint8_t* codes, int64_t n, int32_t bits, uint8_t* out) {
  for (int64_t i = 0; i < n; i += 32, out += 4 * bits) {
    const int64_t count = std::min<int64_t>(32, n - i);
    each_plane(bits, [&](int32_t width, int32_t offset, int32_t byte) {
      uint8_t plane[32] = {};
      for (int64_t j = 0; j < count; ++j) plane[j] = static_cast<uint8_t>(codes[i + j] >> offset & ((1 << width) - 1));
      pack_stream(plane, 32, width, out + byte, 4 * width);
    });
  }
}

void unpack_planar(const uint8_t* in, int64_t n, int32_t bits, uint8_t* codes) {
  for (int64_t i = 0; i < n; i += 32, in += 4 * bits) {
    const int64_t count = std::min<int64_t>(32, n - i);
    std::memset(codes + i, 0, static_cast<size_t>(count));
    each_plane(bits, [&](int32_t width, int32_t offset, int32_t byte) {
      uint8_t plane[32];
      unpack_stream(in + byte, 32, width, plane);
      for (int64_t j = 0; j < count; ++j) codes[i + j] |= static_cast<uint8_t>(plane[j] << offset);
    });
  }
}

}  // namespace

int64_t packed_words(Packing packing, int64_t n, int32_t bits) {
  assert(n >= 0 && bits >= 1 && bits <= 8);
  switch (packing) {
    case Packing::kStream:
      return ceil_div(n * bits, 32);
    case Packing::kPadded:
      return ceil_div(n, 32 / bits);
    case Packing::kPlanar:
      return ceil_div(n, 32) * bits;
  }
  return 0;
}

void pack(Packing packing, const uint8_t* codes, int64_t n, int32_t bits, uint8_t* words) {
  switch (packing) {
    case Packing::kStream:
      return pack_stream(codes, n, bits, words, packed_words(packing, n, bits) * 4);
    case Packing::kPadded:
      return pack_padded(codes, n, bits, words);
    case Packing::kPlanar:
      return pack_planar(codes, n, bits, words);
  }
}

void unpack(Packing packing, const uint8_t* words, int64_t n, int32_t bits, uint8_t* codes) {
  switch (packing) {
    case Packing::kStream:
      return unpack_stream(words, n, bits, codes);
    case Packing::kPadded:
      return unpack_padded(words, n, bits, codes);
    case Packing::kPlanar:
      return unpack_planar(words, n, bits, codes);
  }
}

// Sixteen lines at a time: their words are 64 neighbouring bytes of every packed row, one cache line.
constexpr int64_t kLines = 16;

void pack_down(Packing packing, const uint8_t* codes, int64_t lines, int64_t n, int32_t bits, uint8_t* words) {
  const int64_t height = packed_words(packing, n, bits);
  std::vector<uint32_t> strip(static_cast<size_t>(kLines * height));
  for (int64_t l0 = 0; l0 < lines; l0 += kLines) {
    const int64_t count = std::min(kLines, lines - l0);
    for (int64_t l = 0; l < count; ++l)
      pack(packing, codes + (l0 + l) * n, n, bits, reinterpret_cast<uint8_t*>(strip.data() + l * height));
    for (int64_t w = 0; w < height; ++w)
      for (int64_t l = 0; l < count; ++l)
        std::memcpy(words + 4 * (w * lines + l0 + l), &strip[static_cast<size_t>(l * height + w)], 4);
  }
}

void unpack_down(Packing packing, const uint8_t* words, int64_t lines, int64_t n, int32_t bits, uint8_t* codes) {
  const int64_t height = packed_words(packing, n, bits);
  std::vector<uint32_t> strip(static_cast<size_t>(kLines * height));
  for (int64_t l0 = 0; l0 < lines; l0 += kLines) {
    const int64_t count = std::min(kLines, lines - l0);
    for (int64_t w = 0; w < height; ++w)
      for (int64_t l = 0; l < count; ++l)
        std::memcpy(&strip[static_cast<size_t>(l * height + w)], words + 4 * (w * lines + l0 + l), 4);
    for (int64_t l = 0; l < count; ++l)
      unpack(packing, reinterpret_cast<const uint8_t*>(strip.data() + l * height), n, bits, codes + (l0 + l) * n);
  }
}

}  // namespace qz
