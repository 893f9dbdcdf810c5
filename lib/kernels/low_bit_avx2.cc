// AVX2 and FMA: a tile is two halves of 8 rows. The permutation of 8 floats reads the low 3 bits of each word; of codes
// of 4 bits the highest chooses between two of them.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/low_bit_body.h"
#include "kernels/low_bit_bytes_body.h"

namespace qz {
namespace {

struct Isa {
  static constexpr int64_t kLanes = 8;
  typedef float Vec __attribute__((vector_size(32)));
  typedef float VecU __attribute__((vector_size(32), aligned(4), may_alias));
  typedef uint32_t Words __attribute__((vector_size(32)));
  typedef uint32_t WordsU __attribute__((vector_size(32), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(32)));

  static inline QZ_INLINE Words load_words(const uint32_t* p) { return *reinterpret_cast<const WordsU*>(p); }
  static inline QZ_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecU*>(p); }
  static inline QZ_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecU*>(p) = v; }
  static inline QZ_INLINE Vec broadcast(float s) { return s - Vec{}; }
  static inline QZ_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static inline QZ_INLINE Vec as_f32(const void* base, DType type, int64_t index) {
    if (type == DType::kF32) return load(static_cast<const float*>(base) + index);
    const auto* p = static_cast<const __m128i*>(static_cast<const void*>(static_cast<const uint16_t*>(base) + index));
    const __m128i half = _mm_loadu_si128(p);
    if (type == DType::kF16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }

  static inline QZ_INLINE Vec to_f32(Words v) { return __builtin_convertvector(reinterpret_cast<Integers>(v), Vec); }

  struct Table {
    Vec low, high;
  };
  static inline QZ_INLINE Table table(const TileView& w) {
    return w.bits == 8 ? Table{} : Table{load(w.table), load(w.table + 8)};
  }
  // A byte is brought to the top of its word: an integer 2^24 times the code - 128.
  template <int kBits>
  static constexpr float unit() {
    return kBits == 8 ? 0x1p-24f : 1.0f;
  }
  template <int kBits, int kShift>
  static inline QZ_INLINE Vec value(Words words, const Table& table) {
    if constexpr (kBits == 8) {
      const Words top = ((words << (24 - kShift)) & 0xFF000000u) ^ 0x80000000u;
      return to_f32(top);
    } else {
      const auto place = reinterpret_cast<__m256i>(words >> kShift);
      const __m256 low = _mm256_permutevar8x32_ps(table.low, place);
      if constexpr (kBits < 4) return low;
      const __m256 high = _mm256_permutevar8x32_ps(table.high, place);
      return _mm256_blendv_ps(low, high, reinterpret_cast<__m256>(words << (28 - kShift)));  // by its sign
    }
  }
  // Bytes become halves of words, even and odd ones apart: exact, where a product of bytes would saturate.
  static inline QZ_INLINE Words dot(Words sum, Words codes, uint32_t x) {
    const auto even = reinterpret_cast<__m256i>(codes & 0x00FF00FFu);
    const auto odd = reinterpret_cast<__m256i>(codes >> 8 & 0x00FF00FFu);
    const auto low = static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x))) |
                     static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x >> 16))) << 16;
    const auto high = static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x >> 8))) |
                      static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x >> 24))) << 16;
    return sum + reinterpret_cast<Words>(_mm256_madd_epi16(even, reinterpret_cast<__m256i>(low - Words{}))) +
           reinterpret_cast<Words>(_mm256_madd_epi16(odd, reinterpret_cast<__m256i>(high - Words{})));
  }
  // Of codes of up to 4 bits a pair of products is at most 2 * 15 * 128 in magnitude, and eight of them fit 16 bits.
  static constexpr int64_t kNarrowDots = 8;
  static inline QZ_INLINE Words dot_narrow(Words sum, Words codes, uint32_t x) {
    const __m256i pairs =
        _mm256_maddubs_epi16(reinterpret_cast<__m256i>(codes), _mm256_set1_epi32(static_cast<int32_t>(x)));
    return reinterpret_cast<Words>(_mm256_add_epi16(reinterpret_cast<__m256i>(sum), pairs));
  }
  static inline QZ_INLINE Words widen(Words sum) {
    return reinterpret_cast<Words>(_mm256_madd_epi16(reinterpret_cast<__m256i>(sum), _mm256_set1_epi16(1)));
  }
};

// Codes less half their range, 2 or 4 bits wide: with the highest bit of each turned over they are signed numbers, and
// two shifts with a conversion are half of what the table costs.
struct Centred : Isa {
  struct Table {};
  static inline QZ_INLINE Table table(const TileView&) { return {}; }
  template <int kBits, int kShift>
  static inline QZ_INLINE Vec value(Words words, const Table&) {
    constexpr uint32_t kHighest = kBits == 4 ? 0x88888888u : 0xAAAAAAAAu;
    const Words top = (words ^ kHighest) << (32 - kBits - kShift);
    return to_f32(reinterpret_cast<Words>(reinterpret_cast<Integers>(top) >> (32 - kBits)));
  }
};

bool centred(const TileView& w) {
  return w.linear && (w.bits == 2 || w.bits == 4) && w.table[0] == static_cast<float>(-(1 << (w.bits - 1)));
}

void product_any(const TileView& w, const float* x, const float* sums, int64_t columns, float* out) {
  if (!centred(w)) return product<Isa>(w, x, sums, columns, out);
  if (w.bits == 2) return product_columns<2, Centred>(w, x, sums, columns, out);
  product_columns<4, Centred>(w, x, sums, columns, out);
}

void expand_any(const TileView& w, int64_t begin, int64_t end, float* out, int64_t stride) {
  if (!centred(w)) return expand<Isa>(w, begin, end, out, stride);
  if (w.bits == 2) return expand_of<2, Centred>(w, begin, end, out, stride);
  expand_of<4, Centred>(w, begin, end, out, stride);
}

}  // namespace

extern const LowBitKernels kLowBitAvx2;
extern const LowBitByteKernels kLowBitBytesAvx2;
const LowBitKernels kLowBitAvx2 = {product_any, expand_any};
const LowBitByteKernels kLowBitBytesAvx2 = {product_bytes<Isa>};

}  // namespace qz
#endif
