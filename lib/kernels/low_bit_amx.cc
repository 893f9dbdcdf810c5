// AMX: weights become pairs of bfloat16 in the first-level cache, exact as codes less their middle are (or, of a table,
// as three parts), and are multiplied 16 x 32 x 16 at a time with float32 sums per group, which are scaled while the
// next products run.
#if defined(__x86_64__)
#include "kernels/low_bit_amx.h"

#include "kernels/low_bit_pairs.h"

namespace qz {
namespace {

typedef Vectors::Vec Vec;
typedef Vectors::Words Words;

// Weights of a run: [steps][parts][4 tiles].
constexpr int64_t kTile = 1024, kPartBytes = kBlockTiles * kTile, kMostParts = 4;

// Bytes 2 * kPair and 2 * kPair + 1 less 128, which bfloat16 holds.
template <int kPair>
inline QZ_INLINE __m512i byte_pair(Words lane) {
  typedef Vectors::Integers Integers;
  const auto codes = reinterpret_cast<Integers>(lane ^ 0x80808080u);
  const Vec even = __builtin_convertvector(codes << (24 - 16 * kPair) >> 24, Vec);
  const Vec odd = __builtin_convertvector(codes << (16 - 16 * kPair) >> 24, Vec);
  return reinterpret_cast<__m512i>(reinterpret_cast<Words>(even) >> 16 | (reinterpret_cast<Words>(odd) & 0xFFFF0000u));
}

// Units [0, kUnits) of a step as pairs: [parts][16 pairs][16 rows].
template <int kBits, int kParts, int kUnits>
inline QZ_INLINE void expand_units(const uint32_t* lines, const __m512i* tables, uint8_t* to) {
  constexpr TileLayout kLayout = tile_layout(kBits);
  constexpr int kPairs = kLayout.columns / 2;
#pragma GCC unroll 8
  for (int u = 0; u < kUnits; ++u, lines += kLayout.lines * kLineWords, to += kPairs * 64) {
    if constexpr (kBits == 8) {
      const Words lane = Vectors::load_words(lines);
      _mm512_store_si512(to, byte_pair<0>(lane));
      _mm512_store_si512(to + 64, byte_pair<1>(lane));
    } else {
      Words words[4];
      load_pair_unit<kBits>(lines, words);
      unrolled<0, kPairs>([&]<int kPair>() QZ_INLINE {
        const __m512i at = pair_places<kBits, kPair>(words);
#pragma GCC unroll 3
        for (int p = 0; p < kParts; ++p)
          _mm512_store_si512(to + p * kPartBytes + kPair * 64, look_up_pairs(at, tables[p]));
      });
    }
  }
}

// `places` places (whole units) of one tile, step after step, `kStepBytes` apart.
template <int kBits, int kParts>
inline QZ_INLINE void expand(const uint32_t* lines, int64_t places, const __m512i* tables, uint8_t* to) {
  constexpr TileLayout kLayout = tile_layout(kBits);
  constexpr int64_t kUnits = kPairPlaces / kLayout.columns, kUnitWords = kLayout.lines * kLineWords;
  for (; places >= kPairPlaces; places -= kPairPlaces, lines += kUnits * kUnitWords, to += kParts * kPartBytes) {
    expand_units<kBits, kParts, kUnits>(lines, tables, to);
  }
  if (places <= 0) return;
  // What follows must be finite, since zeros of x meet it.
  for (int p = 0; p < kParts; ++p) {
    for (int64_t i = 0; i < kTile; i += 64) _mm512_store_si512(to + p * kPartBytes + i, _mm512_setzero_si512());
  }
  for (; places > 0; places -= kLayout.columns, lines += kUnitWords, to += kLayout.columns / 2 * 64) {
    expand_units<kBits, kParts, 1>(lines, tables, to);
  }
}

// The values of codes, or of a table three parts whose sum they are.
template <int kBits, int kParts>
inline QZ_INLINE void make_tables(const float* values, __m512i* tables) {
  if constexpr (kParts == 1) {
    tables[0] = kBits == 8 ? _mm512_setzero_si512() : pair_table(values);
    return;
  }
  Vec rest = Vectors::load(values);
  for (int p = 0; p < kParts; ++p) {
    alignas(64) float part[16];
    Vectors::store(part, reinterpret_cast<Vec>(reinterpret_cast<Words>(rest) & 0xFFFF0000u));
    tables[p] = pair_table(part);
    rest -= Vectors::load(part);
  }
}

// Scales and offsets of a group, of four tiles.
struct Scaling {
  Vec scale[kBlockTiles], offset[kBlockTiles];
};

// The sums of x over a group count once, with its last run.
alignas(64) constexpr float kNoSums[kMostBlockRows] = {};

// Sums of a block that are still to be scaled and added to out.
struct Pending {
  const float* sums = nullptr;  // [4][16][16]
  const float* x_sums = nullptr;
  const Scaling* scaling = nullptr;
  float* out = nullptr;
  int64_t row = 0, rows = 0;
};

template <bool kOffsets>
inline QZ_INLINE void scale_rows(Pending* p, int64_t count) {
  const int64_t last = p->row + count < p->rows ? p->row + count : p->rows;
  for (int64_t r = p->row; r < last; ++r) {
#pragma GCC unroll 4
    for (int64_t t = 0; t < kBlockTiles; ++t) {
      Vec sum = Vectors::load(p->sums + t * 256 + r * 16);
      if constexpr (kOffsets) sum -= p->scaling->offset[t] * p->x_sums[r];
      float* to = p->out + r * kBlockColumns + t * kTileRows;
      Vectors::store(to, Vectors::fma(p->scaling->scale[t], sum, Vectors::load(to)));
    }
  }
  p->row = last;
}

template <int kBits, int kParts, bool kOffsets>
void product_of(const TileView* w, const BlockedRows& x, void* scratch, float* out) {
  constexpr TileLayout kLayout = tile_layout(kBits);
  constexpr int64_t kMostSteps = kMostParts / kParts, kStepBytes = kParts * kPartBytes;
  auto* const weights = static_cast<uint8_t*>(scratch);
  auto* const sums = weights + kMostParts * kPartBytes;
  alignas(64) Scaling scaling[2];
  __m512i tables[kParts];
  make_tables<kBits, kParts>(w[0].table, tables);
  const TileView& first = w[0];
  const int64_t tile_bytes = x.rows * 64, block_bytes = x.steps * x.parts * tile_bytes;
  for (int64_t i = 0; i < x.count * x.rows * kBlockColumns; i += 16) Vectors::store(out + i, Vec{});
  const AmxTiles tiles(x.rows);
  Pending pending;
  int64_t turn = 0;
  for (Run run = run_at(first, 0, 0, 0, kPairPlaces, kMostSteps); run.steps > 0;
       run = run_after(first, run, kPairPlaces, kMostSteps), ++turn) {
    const int64_t left = first.starts[run.group + 1] - run.place, most = run.steps * kPairPlaces;
    Scaling& scales = scaling[turn & 1];
    for (int64_t t = 0; t < kBlockTiles; ++t) {
      expand<kBits, kParts>(w[t].lines + run.place / kLayout.columns * (kLayout.lines * kLineWords),
                            left < most ? left : most, tables, weights + t * kTile);
      scales.scale[t] = Vectors::as_f32(w[t].scales, first.scale_type, run.group * kTileRows);
      if constexpr (kOffsets)
        scales.offset[t] = Vectors::as_f32(w[t].offsets, first.offset_type, run.group * kTileRows);
    }
    keep_order();
    // What is two runs ahead, in even shares: asked for all at once, it would wait for the few that the first-level
    // cache can wait for.
    const int64_t lines = run.steps * (kPairPlaces / kLayout.columns * kLayout.lines);
    const uint32_t* ahead = w[0].lines + (run.place / kLayout.columns * kLayout.lines + 2 * lines) * kLineWords;
    const uint32_t* ahead_end = ahead + lines * kLineWords;
    int64_t ahead_tile = 0;
    int64_t quads = 0;  // of four products, for one block
    for (int64_t a = 0; a < x.parts; ++a) quads += run.steps * (kParts < 3 - a ? kParts : 3 - a);
    const int64_t rows_a_quad = (x.rows + quads - 1) / quads;
    const int64_t lines_a_quad = (kBlockTiles * lines + quads * x.count - 1) / (quads * x.count);
    const uint8_t* x_run = x.blocks + run.step * x.parts * tile_bytes;
    for (int64_t block = 0; block < x.count; ++block, x_run += block_bytes) {
      const uint8_t* xs = x_run;
      clear_sums();
      for (int64_t step = 0; step < run.steps; ++step) {
        for (int64_t a = 0; a < x.parts; ++a, xs += tile_bytes) {
          for (int64_t b = 0; b < kParts && (kParts == 1 || a + b < 3); ++b) {
            QZ_FOUR_PRODUCTS("tdpbf16ps", xs, weights + step * kStepBytes + b * kPartBytes);
            scale_rows<kOffsets>(&pending, rows_a_quad);
            for (int64_t i = 0; i < lines_a_quad && ahead_tile < kBlockTiles; ++i, ahead += kLineWords) {
              if (ahead == ahead_end) {
                if (++ahead_tile == kBlockTiles) break;
                ahead += w[ahead_tile].lines - w[ahead_tile - 1].lines - lines * kLineWords;
                ahead_end = ahead + lines * kLineWords;
              }
              __builtin_prefetch(ahead);
            }
          }
        }
      }
      scale_rows<kOffsets>(&pending, x.rows);
      keep_order();
      store_sums(sums);
      const int64_t at = (block * first.groups + run.group) * x.rows;
      pending = {static_cast<const float*>(static_cast<const void*>(sums)),
                 kOffsets && run.ends ? static_cast<const float*>(x.sums) + at : kNoSums,
                 &scales,
                 out + block * x.rows * kBlockColumns,
                 0,
                 x.rows};
    }
  }
  scale_rows<kOffsets>(&pending, x.rows);
}

template <int kBits, int kParts>
void product_any(const TileView* w, const BlockedRows& x, void* scratch, float* out) {
  if (w[0].offsets) return product_of<kBits, kParts, true>(w, x, scratch, out);
  product_of<kBits, kParts, false>(w, x, scratch, out);
}

}  // namespace

// For engines.cc's row, of which this is one part.
void low_bit_product_amx(const TileView* w, const BlockedRows& x, void* scratch, float* out);
void low_bit_product_amx(const TileView* w, const BlockedRows& x, void* scratch, float* out) {
  if (w[0].bits == 2) return product_any<2, 1>(w, x, scratch, out);
  if (w[0].bits == 3) return product_any<3, 1>(w, x, scratch, out);
  if (w[0].bits == 8) return product_any<8, 1>(w, x, scratch, out);
  if (w[0].linear) return product_any<4, 1>(w, x, scratch, out);
  product_any<4, 3>(w, x, scratch, out);
}

}  // namespace qz
#endif
