// AMX: signed bytes, 16 x 64 x 16 at a time. Integer sums of a group stay in tiles, or between its runs in memory, and
// are scaled once at its end.
#if defined(__x86_64__)
#include "kernels/low_bit_amx.h"

namespace qz {
namespace {

typedef Vectors::Vec Vec;
typedef Vectors::Words Words;

constexpr int64_t kTile = 1024, kWeightBytes = 16 * kTile;  // of one run
constexpr int64_t kMostSteps = 4, kStepBytes = kBlockTiles * kTile;
constexpr int64_t kAhead = 32;  // units between what is read and what is asked for

// `places` of a step (whole units) as signed bytes: [16 words of 4][16 rows].
template <int kBits>
inline QZ_INLINE void expand_step(const uint32_t* lines, int64_t places, __m512i base, uint8_t* to) {
  constexpr int kColumns = tile_layout(kBits).columns, kWords = kColumns / 4;
  constexpr uint32_t kMask = 0x01010101u * ((1u << kBits) - 1);
#pragma GCC unroll 16
  for (int64_t k = 0; k < kBytePlaces; k += kColumns, lines += kLineWords, to += kWords * 64) {
    if (k >= places) {
#pragma GCC unroll 4
      for (int i = 0; i < kWords; ++i) _mm512_store_si512(to + i * 64, _mm512_setzero_si512());
      continue;
    }
    __builtin_prefetch(lines + kAhead * kLineWords);
    const Words lane = Vectors::load_words(lines);
    unrolled<0, kWords>([&]<int kWord>() QZ_INLINE {
      const Words codes = kBits == 8 ? lane : lane >> (kWord * kBits) & kMask;
      _mm512_store_si512(to + kWord * 64, _mm512_sub_epi8(reinterpret_cast<__m512i>(codes), base));
    });
  }
}

struct Scaling {
  Vec scale[kBlockTiles], offset[kBlockTiles];
};

// Sums of a block that are still to be scaled and added to out.
struct Pending {
  const uint32_t* sums = nullptr;  // [4][16][16]
  const int32_t* x_sums = nullptr;
  const float* factors = nullptr;
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
      Vec exact = Vectors::to_f32(Vectors::load_words(p->sums + t * 256 + r * 16));
      if constexpr (kOffsets) exact -= p->scaling->offset[t] * static_cast<float>(p->x_sums[r]);
      float* to = p->out + r * kBlockColumns + t * kTileRows;
      Vectors::store(to, Vectors::fma(p->scaling->scale[t] * p->factors[r], exact, Vectors::load(to)));
    }
  }
  p->row = last;
}

template <int kBits, bool kOffsets>
void product_of(const TileView* w, const BlockedRows& x, void* scratch, float* out) {
  auto* const weights = static_cast<uint8_t*>(scratch);
  auto* const sums = weights + 2 * kWeightBytes;  // of every block
  alignas(64) Scaling scaling[2];
  const TileView& first = w[0];
  const __m512i base = _mm512_set1_epi8(static_cast<char>(kBits == 8 ? 128 : -static_cast<int32_t>(first.table[0])));
  const int64_t block_bytes = x.steps * x.rows * 64, tile_bytes = x.rows * 64;
  const auto expand = [&](const Run& run, int64_t job, uint8_t* to) QZ_INLINE {
    const int64_t step = job / kBlockTiles, t = job % kBlockTiles, place = run.place + step * kBytePlaces;
    const uint32_t* lines = w[t].lines + place / tile_layout(kBits).columns * kLineWords;
    expand_step<kBits>(lines, first.starts[run.group + 1] - place, base, to + step * kStepBytes + t * kTile);
  };
  for (int64_t i = 0; i < x.count * x.rows * kBlockColumns; i += 16) Vectors::store(out + i, Vec{});
  const AmxTiles tiles(x.rows);
  Run run = run_at(first, 0, 0, 0, kBytePlaces, kMostSteps);
  int64_t turn = 0, groups = 0;
  for (int64_t job = 0; job < run.steps * kBlockTiles; ++job) expand(run, job, weights);
  keep_order();
  Pending pending;
  bool begins = true;
  while (run.steps > 0) {
    const Run next = run_after(first, run, kBytePlaces, kMostSteps);
    const int64_t jobs = next.steps * kBlockTiles;
    const int64_t rows_a_quad = (x.rows + run.steps - 1) / run.steps;
    const int64_t jobs_a_quad = (jobs + run.steps * x.count - 1) / (run.steps * x.count);
    const uint8_t* const here = weights + (turn & 1) * kWeightBytes;
    uint8_t* const there = weights + (~turn & 1) * kWeightBytes;
    Scaling& scales = scaling[groups & 1];
    if (run.ends) {
      for (int64_t t = 0; t < kBlockTiles; ++t) {
        scales.scale[t] = Vectors::as_f32(w[t].scales, first.scale_type, run.group * kTileRows);
        if constexpr (kOffsets)
          scales.offset[t] = Vectors::as_f32(w[t].offsets, first.offset_type, run.group * kTileRows);
      }
    }
    int64_t job = 0;
    for (int64_t block = 0; block < x.count; ++block) {
      const uint8_t* xs = x.blocks + block * block_bytes + run.step * tile_bytes;
      uint8_t* of_block = sums + block * 4 * kTile;
      // With one block what is pending is in its place: out with it before that is stored to.
      if (begins) {
        clear_sums();
      } else {
        load_sums(of_block);
      }
      for (int64_t step = 0; step < run.steps; ++step, xs += tile_bytes) {
        const uint8_t* four = here + step * kStepBytes;
        QZ_FOUR_PRODUCTS("tdpbssd", xs, four);
        scale_rows<kOffsets>(&pending, rows_a_quad);
        for (int64_t j = 0; j < jobs_a_quad && job < jobs; ++j) expand(next, job++, there);
      }
      scale_rows<kOffsets>(&pending, x.rows);
      keep_order();
      store_sums(of_block);
      if (run.ends) {
        const int64_t at = (block * first.groups + run.group) * x.rows;
        pending = {static_cast<const uint32_t*>(static_cast<const void*>(of_block)),
                   kOffsets ? static_cast<const int32_t*>(x.sums) + at : nullptr,
                   x.factors + at,
                   &scales,
                   out + block * x.rows * kBlockColumns,
                   0,
                   x.rows};
      }
    }
    keep_order();
    groups += run.ends ? 1 : 0;
    begins = run.ends;
    run = next;
    ++turn;
  }
  scale_rows<kOffsets>(&pending, x.rows);
}

template <int kBits>
void product_any(const TileView* w, const BlockedRows& x, void* scratch, float* out) {
  if (w[0].offsets) return product_of<kBits, true>(w, x, scratch, out);
  product_of<kBits, false>(w, x, scratch, out);
}

void product_bytes(const TileView* w, const BlockedRows& x, void* scratch, float* out) {
  if (w[0].bits == 2) return product_any<2>(w, x, scratch, out);
  if (w[0].bits == 4) return product_any<4>(w, x, scratch, out);
  product_any<8>(w, x, scratch, out);
}

}  // namespace

void low_bit_product_amx(const TileView* w, const BlockedRows& x, void* scratch, float* out);

extern const LowBitBlockKernels kLowBitBlocksAmx;
const LowBitBlockKernels kLowBitBlocksAmx = {low_bit_product_amx, product_bytes, 2, 1};

}  // namespace qz
#endif
