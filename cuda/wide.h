// The body of the product for more than 64 tokens with wgmma, compute capability 9.0: a block has 256 rows and 128
// tokens, each of its four warpgroups a stripe of 64 rows and all the tokens. A tile of that shape takes 24 KB from the
// L2 cache for 1,024 clocks of the matrix units, which is what it delivers to a multiprocessor of an H200; fewer rows
// would wait for it.
//
// Copies run as in ring.h, a brick of 64 columns per stage. What a step multiplies is expanded to registers first;
// while one warpgroup expands, others multiply. Scales are multiplied into the weights, each rounded once to the type
// of x: room for sums of groups beside sums of all there is none, with 512 threads of 128 registers.
#pragma once
#include "args.h"
#include "expand.h"
#include "swizzle.h"

namespace qz::cuda {

constexpr int32_t kWideThreads = 512;
constexpr int32_t kWideStripes = 4;  // a warpgroup each
constexpr int32_t kWideRows = kWideStripes * kBrickSide;
constexpr int32_t kWideTokens = 128;
constexpr int32_t kWideHalf = 64;  // tokens of one instruction
static_assert(kWideThreads == kWideStripes * 128);

// Sizes of a variant. kFine: groups of less than a brick's columns. kSame: scales are of the type of x, so that one
// instruction scales two weights; others go through float32, to be rounded once too.
template <bool kFine_, bool kSame_>
struct Wide {
  static constexpr bool kFine = kFine_, kSame = kSame_;
  static constexpr int32_t kScaleRows = kFine ? 4 : 1;  // of a brick, at most
  static constexpr int32_t kScaleRowBytes = kBrickSide * (kSame ? 2 : 4);
  static constexpr int32_t kX = 0, kCodes = kX + kWideTokens * kTileRowBytes;
  static constexpr int32_t kScales = kCodes + kWideStripes * kBrickWords * 4;
  static constexpr int32_t kZeros = kScales + kWideStripes * kScaleRows * kScaleRowBytes;
  static constexpr int32_t kEnd = kZeros + kWideStripes * kScaleRows * kBrickSide;
  static constexpr int32_t kStage = (kEnd + 1023) / 1024 * 1024;  // tiles begin at multiples of 1,024 bytes
  static constexpr int32_t kStages = 6;
  static constexpr int32_t kRowPad = kWideRows + 4;  // floats of a token's sums at the end
  static constexpr int32_t kBytes = kStages * kStage;
  static_assert(kBytes <= 227 * 1024 && kBytes >= kWideHalf * kRowPad * 4);
};

// Tiles of tokens follow each other, so that blocks at work together share codes.
QZ_BOTH constexpr int64_t wide_tokens(int64_t m) { return (m + kWideTokens - 1) / kWideTokens; }
QZ_BOTH constexpr int64_t wide_blocks(int64_t rows, int64_t m) {
  return (rows + kWideRows - 1) / kWideRows * wide_tokens(m);
}

// Where a block works.
struct WidePlace {
  int32_t stripe, stripes, bricks, token0;  // the first of its stripes; of the matrix; columns' bricks; first token
  int32_t shift;                            // 2^shift bricks are in a group
  int32_t fold;                             // of fine groups, 2^fold atoms are in one

  QZ_BOTH WidePlace(const ProductArgs& a, int32_t block) {
    const auto tokens = static_cast<int32_t>(wide_tokens(a.m));
    stripe = block / tokens * kWideStripes;
    token0 = block % tokens * kWideTokens;
    stripes = static_cast<int32_t>(bricks_of(a.w.rows)), bricks = static_cast<int32_t>(bricks_of(a.w.cols));
    shift = a.w.group ? 0 : 30;
    while (a.w.group > kBrickSide << shift) ++shift;
    fold = a.w.group == 32 ? 1 : 0;
  }
};

// Starts the copies of one step; always one commit, so that steps can be counted. What lies beyond the matrix becomes
// zero in x; codes, scales and zero points of it are never used, or multiply zeros.
template <class W, class Ops>
QZ_BOTH inline void wide_fill(const ProductArgs& a, Ops& ops, const WidePlace& at, int32_t step, char* stage) {
  const int32_t thread = ops.thread(), lane = thread % 32;
  if (step < at.bricks) {
    const int32_t which = thread / 128;  // a brick's codes are 128 chunks
    if (at.stripe + which < at.stripes)
      ops.copy_16(stage + W::kCodes + thread * 16,
                  a.w.codes + (int64_t{at.stripe + which} * at.bricks + step) * kBrickWords + thread % 128 * 4, 16);
    const int32_t chunk = thread % kTileChunks, col = step * kBrickSide + chunk * 8;
#pragma unroll
    for (int32_t i = 0; i < kWideTokens * kTileChunks / kWideThreads; ++i) {
      const int32_t row = i * (kWideThreads / kTileChunks) + thread / kTileChunks, token = at.token0 + row;
      int32_t bytes = token < a.m ? (a.w.cols - col) * 2 : 0;
      bytes = bytes < 0 ? 0 : bytes > 16 ? 16 : bytes;
      ops.copy_16(stage + W::kX + tile_place(row, chunk), bytes ? a.x + token * a.x_stride + col : a.x, bytes);
    }
    // A warp has one group of a brick: its first eight lanes the scales, sixteen where they are F32, four others the
    // zero points.
    const int32_t rows = W::kScaleRows >> (W::kFine ? at.fold : 0), row = thread / 32;
    const int32_t brick = row / rows, in = row % rows;
    if (brick < kWideStripes && at.stripe + brick < at.stripes) {
      int32_t g = W::kFine ? step * rows + in : step >> at.shift;
      if (g >= a.w.groups) g = a.w.groups - 1;
      const int64_t place = (int64_t{at.stripe + brick} * a.w.groups + g) * kBrickSide;
      const int32_t to = brick * W::kScaleRows + in, width = static_cast<int32_t>(float_bytes(a.w.scale));
      if (lane < kBrickSide * width / 16)
        ops.copy_16(stage + W::kScales + to * W::kScaleRowBytes + lane * 16,
                    static_cast<const char*>(a.w.scales) + place * width + lane * 16, 16);
      else if (a.w.zeros && lane >= 16 && lane < 20)
        ops.copy_16(stage + W::kZeros + to * kBrickSide + (lane - 16) * 16, a.w.zeros + place + (lane - 16) * 16, 16);
    }
  }
  ops.commit_copies();
}

// A lane's weights of one brick, scaled: the A fragments of its four atoms.
template <class Type, class W, class Ops>
QZ_BOTH inline void wide_expand(const ProductArgs& a, Ops& ops, const WidePlace& at, const char* stage,
                                uint32_t (&weights)[kBrickAtoms][4]) {
  const int32_t thread = ops.thread(), which = thread / 128, lane = thread % 32;
  const int32_t row = thread / 32 % 4 * 16 + lane / 4 * 2;  // of its two rows, as scales are laid
  const auto words = ops.shared_words(stage + W::kCodes + thread * 16);
  uint32_t minus[2] = {minus_zero<Type>(static_cast<uint32_t>(a.w.zero)),
                       minus_zero<Type>(static_cast<uint32_t>(a.w.zero))};
  uint32_t pair[2] = {};  // of the upper and lower row, twice
  float scale[2] = {};
#pragma unroll
  for (int32_t atom = 0; atom < kBrickAtoms; ++atom) {
    if (W::kFine || atom == 0) {
      const int32_t group = which * W::kScaleRows + (W::kFine ? atom >> at.fold : 0);
      const char* scales = stage + W::kScales + group * W::kScaleRowBytes;
      if constexpr (W::kSame) {
        const uint32_t both = ops.shared_4(scales + row * 2);
        pair[0] = (both & 0xffff) | both << 16, pair[1] = both >> 16 | (both & 0xffff0000u);
      } else {
        ops.shared_float_pair(scales, row, a.w.scale, &scale[0], &scale[1]);
      }
      if (a.w.zeros) {
        const uint32_t zeros = ops.shared_2(stage + W::kZeros + group * kBrickSide + row);
        minus[0] = minus_zero<Type>(zeros & 255), minus[1] = minus_zero<Type>(zeros >> 8);
      }
    }
    expand_word<Type>(ops, words.v[atom], minus[0], minus[1], weights[atom]);
#pragma unroll
    for (int32_t i = 0; i < 4; ++i)
      weights[atom][i] = W::kSame ? ops.template mul2<Type>(weights[atom][i], pair[i % 2])
                                  : ops.template scale2<Type>(weights[atom][i], scale[i % 2]);
  }
}

// Block i has tile i / wide_tokens(m) of rows and i % wide_tokens(m) of tokens.
template <class Type, class W, class Ops>
QZ_BOTH inline void wide_body(const ProductArgs& a, Ops& ops) {
  const WidePlace at(a, ops.block());
  const int32_t thread = ops.thread(), which = thread / 128, lane = thread % 32;
  char* shared = reinterpret_cast<char*>(ops.shared());
  float left[32] = {}, right[32] = {};  // the tile's first and last 64 tokens
  uint32_t weights[kBrickAtoms][4];
#pragma unroll
  for (int32_t s = 0; s < W::kStages - 1; ++s) wide_fill<W>(a, ops, at, s, shared + s * W::kStage);
  int32_t from = 0, next = W::kStages - 1;
  for (int32_t s = 0; s < at.bricks; ++s) {
    ops.template wait_copies<W::kStages - 2>();
    ops.fence_copies();
    ops.sync();  // the step's copies of all threads are there, and all are done with the stage that is filled now
    wide_fill<W>(a, ops, at, s + W::kStages - 1, shared + next * W::kStage);
    const char* stage = shared + from * W::kStage;
    // Stripes beyond the matrix are multiplied too, whatever lies there: their sums are not stored.
    wide_expand<Type, W>(a, ops, at, stage, weights);
    ops.fence_products();
#pragma unroll
    for (int32_t atom = 0; atom < kBrickAtoms; ++atom) {
      const char* x = stage + W::kX + atom * 32;
      ops.template wgmma<Type>(left, weights[atom], ops.descriptor(x));
      ops.template wgmma<Type>(right, weights[atom], ops.descriptor(x + kWideHalf * kTileRowBytes));
    }
    ops.commit_products();
    ops.template wait_products<0>();  // later, across the loop's end, ptxas puts waits of its own between them
    if (++from == W::kStages) from = 0;
    if (++next == W::kStages) next = 0;
  }
  ops.settle(left);
  ops.settle(right);
  ops.template wait_copies<0>();

  float* sum = ops.shared();  // [64 tokens][kRowPad]
  const int32_t row0 = which * kBrickSide + thread / 32 % 4 * 16 + lane / 4;
  const int32_t row = thread % kWideRows, out_row = at.stripe * kBrickSide + row;
  const float bias = a.bias && out_row < a.w.rows ? ops.load_float32(a.bias + out_row) : 0.0f;
#pragma unroll
  for (int32_t half = 0; half < 2; ++half) {
    ops.sync();
#pragma unroll
    for (int32_t i = 0; i < 32; ++i)
      sum[(i / 4 * 8 + lane % 4 * 2 + i % 2) * W::kRowPad + row0 + i / 2 % 2 * 8] = half ? right[i] : left[i];
    ops.sync();
    if (out_row >= a.w.rows) continue;
    for (int32_t t = thread / kWideRows; t < kWideHalf; t += kWideThreads / kWideRows) {
      const int64_t token = at.token0 + half * kWideHalf + t;
      if (token < a.m) ops.store_float(a.y, token * a.y_stride + out_row, a.y_type, sum[t * W::kRowPad + row] + bias);
    }
  }
}

// Calls f.template operator()<Type, Wide>().
template <class F>
auto with_wide_variant(const ProductArgs& a, F&& f) {
  const auto of_group = [&]<class Type, bool kSame>() {
    const bool fine = a.w.group != 0 && a.w.group < kBrickSide;
    return fine ? f.template operator()<Type, Wide<true, kSame>>() : f.template operator()<Type, Wide<false, kSame>>();
  };
  const auto of_scale = [&]<class Type>() {
    return a.w.scale == a.type ? of_group.template operator()<Type, true>()
                               : of_group.template operator()<Type, false>();
  };
  return a.type == Float::kF16 ? of_scale.template operator()<Half>() : of_scale.template operator()<Brain>();
}

}  // namespace qz::cuda
