// The body of the product for 9 to 64 tokens: codes, tokens, scales and zero points come to shared memory by
// asynchronous copies into a ring of stages, a brick of 64 columns per stage and part, so that tens of kilobytes are on
// their way while the matrix units work.
//
// A block has kStripes stripes of 64 rows and a share of the columns (splits), which its warps cut once more into
// kParts. A warp has 32 rows and all tokens, so that a word of codes is expanded once and used for all of them. As in
// stream.h, sums of one group are kept apart and multiplied by their float32 scale at its end, and everything is added
// in fixed order.
#pragma once
#include "args.h"
#include "expand.h"
#include "swizzle.h"

namespace qz::cuda {

constexpr int32_t kRingThreads = 256;
constexpr int32_t kRingWarps = kRingThreads / 32;
static_assert(kRingBricks * 2 == kRingWarps);       // two halves of a brick's rows
constexpr int32_t kRingTiles = 2;                   // of 16 rows, of a warp
constexpr int32_t kScaleRowBytes = kBrickSide * 4;  // room for float32

// Sizes of a variant. kTiles: of 8 tokens; kFine: groups of less than a brick's columns.
template <int32_t kTiles_, int32_t kParts_, bool kFine_>
struct Ring {
  static constexpr int32_t kTiles = kTiles_, kParts = kParts_;
  static constexpr bool kFine = kFine_;
  static constexpr int32_t kTokens = kTiles * 8;
  static constexpr int32_t kStripes = kRingBricks / kParts, kRows = kStripes * kBrickSide;
  static constexpr int32_t kScaleRows = kFine ? 4 : 1;  // of a brick, at most
  static constexpr int32_t kCodes = 0, kX = kRingBricks * kBrickBytes;
  static constexpr int32_t kScales = kX + kParts * kTokens * kTileRowBytes;
  static constexpr int32_t kZeros = kScales + kRingBricks * kScaleRows * kScaleRowBytes;
  static constexpr int32_t kStage = kZeros + kRingBricks * kScaleRows * kBrickSide;
  // As many as 99 KB hold, which is what a block may have on the smallest device; two blocks share a multiprocessor
  // where registers allow it.
  static constexpr int32_t kStages = kTiles == 2 ? 4 : kTiles * kParts == 16 ? 3 : kFine ? 4 : 5;
  static constexpr int32_t kBlocks = kTiles == 2 ? 2 : 1;
  static constexpr int32_t kRowPad = kRows + 4;  // floats: fragments of 8 x 4 lanes are then stored to 32 banks
  static constexpr int32_t kSumBytes = kParts * kTokens * kRowPad * 4;
  static constexpr int32_t kBytes = (kStages * kStage > kSumBytes ? kStages * kStage : kSumBytes) + 16;
  static_assert(kBytes <= 99 * 1024);
};

// Of fine groups, 2^fold atoms are in one.
template <class R>
QZ_BOTH constexpr int32_t ring_fold(const ProductArgs& a) {
  return R::kFine && a.w.group == 32 ? 1 : 0;
}

// Bricks of part `part` of `parts`.
QZ_BOTH constexpr int32_t ring_begin(int32_t bricks, int32_t part, int32_t parts) {
  return static_cast<int32_t>(int64_t{bricks} * part / parts);
}

// Where a block works: its stripes from `stripe`, bricks [begin, end) of each part.
template <class R>
struct RingShare {
  int32_t stripe, bricks, begin[R::kParts], end[R::kParts], steps = 0;
  int32_t shift;  // 2^shift bricks are in a group

  QZ_BOTH RingShare(const ProductArgs& a, int32_t block) {
    stripe = block / a.splits * R::kStripes;
    bricks = static_cast<int32_t>(bricks_of(a.w.cols));
#pragma unroll
    for (int32_t p = 0; p < R::kParts; ++p) {
      const int32_t part = block % a.splits * R::kParts + p;
      begin[p] = ring_begin(bricks, part, a.splits * R::kParts);
      end[p] = ring_begin(bricks, part + 1, a.splits * R::kParts);
      if (end[p] - begin[p] > steps) steps = end[p] - begin[p];
    }
    shift = a.w.group ? 0 : 30;
    while (a.w.group > kBrickSide << shift) ++shift;
  }
  QZ_BOTH int32_t begin_of(int32_t part) const { return R::kParts == 1 || part == 0 ? begin[0] : begin[R::kParts - 1]; }
  QZ_BOTH int32_t end_of(int32_t part) const { return R::kParts == 1 || part == 0 ? end[0] : end[R::kParts - 1]; }
};

// What a thread copies in every step: the same chunks of each stage, so that of all addresses two are kept.
template <class R>
struct RingCopies {
  static constexpr int32_t kChunks = kBrickBytes / 16;        // of a brick's codes
  static constexpr int32_t kAtOnce = kRingThreads / kChunks;  // bricks that all threads copy with one chunk each
  static constexpr int32_t kTokensAtOnce = kRingThreads / kTileChunks;
  const uint32_t* codes;  // brick 0 of the thread's first stripe
  const uint16_t* x;      // column 0 of its first token
  int32_t token;

  QZ_BOTH RingCopies(const ProductArgs& a, int32_t thread, const RingShare<R>& share) {
    codes = a.w.codes + int64_t{share.stripe + thread / kChunks} * share.bricks * kBrickWords + thread % kChunks * 4;
    token = thread / kTileChunks % R::kTokens;
    x = a.x + token * a.x_stride + thread % kTileChunks * 8;
  }
};

// Starts the copies of one step; always one commit, so that steps can be counted. What lies beyond the matrix becomes
// zero in x, whatever lies there; codes and scales of it are never used.
template <class R, class Ops>
QZ_BOTH inline void ring_fill(const ProductArgs& a, Ops& ops, const RingShare<R>& share, const RingCopies<R>& copies,
                              int32_t step, char* stage) {
  using Copies = RingCopies<R>;
  const int32_t thread = ops.thread(), stripes = static_cast<int32_t>(bricks_of(a.w.rows));
  if (step < share.steps) {
#pragma unroll
    for (int32_t i = 0; i < kRingBricks / Copies::kAtOnce; ++i) {
      const int32_t part = i * Copies::kAtOnce / R::kStripes, ahead = i * Copies::kAtOnce % R::kStripes;
      const int32_t brick = share.begin_of(part) + step;
      if (share.stripe + ahead + thread / Copies::kChunks < stripes && brick < share.end_of(part))
        ops.copy_16(stage + R::kCodes + (i * kRingThreads + thread) * 16,
                    copies.codes + int64_t{ahead * share.bricks + brick} * kBrickWords, 16);
    }
    constexpr int32_t kRounds = R::kParts * R::kTokens / Copies::kTokensAtOnce;
    static_assert(kRounds * Copies::kTokensAtOnce == R::kParts * R::kTokens);
#pragma unroll
    for (int32_t i = 0; i < kRounds; ++i) {
      const int32_t first = i * Copies::kTokensAtOnce, ahead = first % R::kTokens;  // of all parts' tokens, of a part's
      const int32_t part =
          R::kTokens < Copies::kTokensAtOnce ? thread / (R::kTokens * kTileChunks) : first / R::kTokens;
      const int32_t brick = share.begin_of(part) + step, col = brick * kBrickSide;
      int32_t bytes = (a.w.cols - col - thread % kTileChunks * 8) * 2;
      if (brick >= share.end_of(part) || copies.token + ahead >= a.m || bytes < 0) bytes = 0;
      if (bytes > 16) bytes = 16;
      char* to = stage + R::kX + part * R::kTokens * kTileRowBytes + tile_place(copies.token, thread % kTileChunks) +
                 ahead * kTileRowBytes;
      ops.copy_16(to, bytes ? copies.x + ahead * a.x_stride + col : a.x, bytes);
    }
    // Scales and zero points of the groups that the step's bricks are in: a warp has one group of a brick, the first 16
    // lanes its scales, the next four its zero points.
    const int32_t width = static_cast<int32_t>(float_bytes(a.w.scale)), lane = thread % 32;
    const int32_t fold = ring_fold<R>(a), rows = R::kScaleRows >> fold;
#pragma unroll
    for (int32_t first = 0; first < kRingBricks * R::kScaleRows; first += kRingWarps) {
      const int32_t row = first + thread / 32, which = R::kFine ? row >> (2 - fold) : row;
      if (which >= kRingBricks) break;
      const int32_t part = which / R::kStripes, stripe = share.stripe + which % R::kStripes;
      const int32_t brick = share.begin_of(part) + step;
      if (stripe >= stripes || brick >= share.end_of(part)) continue;
      int32_t g = R::kFine ? brick * rows + (row & (rows - 1)) : brick >> share.shift;
      if (g >= a.w.groups) g = a.w.groups - 1;
      const int64_t place = (int64_t{stripe} * a.w.groups + g) * kBrickSide;
      const int32_t to = which * R::kScaleRows + (R::kFine ? row & (rows - 1) : 0);
      if (lane < kBrickSide * width / 16)
        ops.copy_16(stage + R::kScales + to * kScaleRowBytes + lane * 16,
                    static_cast<const char*>(a.w.scales) + place * width + lane * 16, 16);
      else if (a.w.zeros && lane >= 16 && lane < 20)
        ops.copy_16(stage + R::kZeros + to * kBrickSide + (lane - 16) * 16, a.w.zeros + place + (lane - 16) * 16, 16);
    }
  }
  ops.commit_copies();
}

// Sums of one warp: [tile of rows][tile of tokens], each the C fragment of m16n8: rows l / 4, l / 4 + 8, tokens
// 2 (l % 4), + 1.
template <int32_t kTiles>
struct RingSums {
  float v[kRingTiles][kTiles][4] = {};
};

// total += scale * group, group = 0. scales: of the group, at the lane's first row.
template <int32_t kTiles, class Ops>
QZ_BOTH inline void close_ring_group(const ProductArgs& a, Ops& ops, const char* scales, int32_t row,
                                     RingSums<kTiles>& group, RingSums<kTiles>& total) {
#pragma unroll
  for (int32_t tile = 0; tile < kRingTiles; ++tile) {
    float upper, lower;
    ops.shared_float_pair(scales, row + tile * 16, a.w.scale, &upper, &lower);
#pragma unroll
    for (int32_t n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) {
        total.v[tile][n][i] = ops.fma(i < 2 ? upper : lower, group.v[tile][n][i], total.v[tile][n][i]);
        group.v[tile][n][i] = 0;
      }
    }
  }
}

// A warp's part of one step. which: its brick of the stage; row: of its lane among the brick's, as scales are laid.
template <class Type, class R, class Ops>
QZ_BOTH inline void ring_brick(const ProductArgs& a, Ops& ops, const char* stage, int32_t part, int32_t which,
                               int32_t tile0, bool closes, RingSums<R::kTiles>& group, RingSums<R::kTiles>& total) {
  using Words = decltype(ops.shared_words(stage));
  const int32_t lane = ops.thread() % 32, row = tile0 * 16 + lane / 4 * 2, fold = ring_fold<R>(a);
  const char* x = stage + R::kX + part * R::kTokens * kTileRowBytes;
  const char* scales = stage + R::kScales + which * R::kScaleRows * kScaleRowBytes;
  const char* zeros = stage + R::kZeros + which * R::kScaleRows * kBrickSide;
  Words words[kRingTiles];
  uint32_t minus[kRingTiles][2];
#pragma unroll
  for (int32_t tile = 0; tile < kRingTiles; ++tile) {
    words[tile] =
        ops.shared_words(stage + R::kCodes + which * kBrickBytes + ((tile0 + tile) * kBrickLanes + lane) * 16);
    minus[tile][0] = minus[tile][1] = minus_zero<Type>(static_cast<uint32_t>(a.w.zero));
  }
#pragma unroll
  for (int32_t atom = 0; atom < kBrickAtoms; ++atom) {
    const int32_t of = R::kFine ? atom >> fold : 0;  // which of the brick's groups
    if (a.w.zeros && (R::kFine || atom == 0)) {
#pragma unroll
      for (int32_t tile = 0; tile < kRingTiles; ++tile) {
        const uint32_t both = ops.shared_2(zeros + of * kBrickSide + row + tile * 16);
        minus[tile][0] = minus_zero<Type>(both & 255);
        minus[tile][1] = minus_zero<Type>(both >> 8);
      }
    }
    uint32_t fragment[kRingTiles][4];
#pragma unroll
    for (int32_t tile = 0; tile < kRingTiles; ++tile)
      expand_word<Type>(ops, words[tile].v[atom], minus[tile][0], minus[tile][1], fragment[tile]);
#pragma unroll
    for (int32_t n = 0; n < R::kTiles; n += 2) {
      uint32_t r[4];
      ops.load_matrices(x + tile_place(n * 8 + lane / 16 * 8 + lane % 8, atom * 2 + lane / 8 % 2), r);
      const uint32_t left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
#pragma unroll
      for (int32_t tile = 0; tile < kRingTiles; ++tile) {
        ops.template mma<Type>(group.v[tile][n], fragment[tile], left);
        ops.template mma<Type>(group.v[tile][n + 1], fragment[tile], right);
      }
    }
    if (R::kFine ? (atom & fold) == fold : atom == kBrickAtoms - 1 && closes)
      close_ring_group<R::kTiles>(a, ops, scales + of * kScaleRowBytes, row, group, total);
  }
}

// What the last block of a tile of rows to arrive does: adds all shares in order. False: this block is not the last.
template <class R, int32_t kEach, class Ops>
QZ_BOTH inline bool ring_gather(const ProductArgs& a, Ops& ops, int32_t row, int32_t token0, float (&sums)[kEach]) {
  constexpr int32_t kStep = kRingThreads / R::kRows;
  const int32_t tile = ops.block() / a.splits;
  float* all = a.partial + int64_t{tile} * a.splits * R::kTokens * R::kRows;
  float* mine = all + int64_t{ops.block() % a.splits} * R::kTokens * R::kRows;
#pragma unroll
  for (int32_t i = 0; i < kEach; ++i) ops.store_partial(mine + (token0 + i * kStep) * R::kRows + row, sums[i]);
  ops.fence();
  ops.sync();
  float* vote = ops.shared() + R::kBytes / 4 - 4;
  if (ops.thread() == 0) *vote = ops.add_one(a.arrived + tile) + 1 == static_cast<uint32_t>(a.splits) ? 1.0f : 0.0f;
  ops.sync();
  if (*vote == 0.0f) return false;
  ops.fence();
#pragma unroll
  for (int32_t i = 0; i < kEach; ++i) sums[i] = 0;
  for (int32_t s = 0; s < a.splits; ++s) {
    const float* one = all + int64_t{s} * R::kTokens * R::kRows;
#pragma unroll
    for (int32_t i = 0; i < kEach; ++i) sums[i] += ops.load_partial(one + (token0 + i * kStep) * R::kRows + row);
  }
  if (ops.thread() == 0) ops.clear(a.arrived + tile);
  return true;
}

// Block i has the stripes of tile i / splits and share i % splits.
template <class Type, class R, class Ops>
QZ_BOTH inline void ring_body(const ProductArgs& a, Ops& ops) {
  const RingShare<R> share(a, ops.block());
  const int32_t warp = ops.thread() / 32, lane = ops.thread() % 32;
  const int32_t which = warp / 2, tile0 = warp % 2 * kRingTiles;  // of the stage's bricks, of the brick's tiles
  const int32_t part = which / R::kStripes, stripe = share.stripe + which % R::kStripes;
  const int32_t begin = share.begin_of(part), end = share.end_of(part);
  const bool works = stripe < static_cast<int32_t>(bricks_of(a.w.rows));
  const RingCopies<R> copies(a, ops.thread(), share);
  char* shared = reinterpret_cast<char*>(ops.shared());
  RingSums<R::kTiles> group, total;
#pragma unroll
  for (int32_t s = 0; s < R::kStages - 1; ++s) ring_fill<R>(a, ops, share, copies, s, shared + s * R::kStage);
  int32_t at = 0, next = R::kStages - 1;
  for (int32_t s = 0; s < share.steps; ++s) {
    ops.template wait_copies<R::kStages - 2>();
    ops.sync();  // the step's copies of all threads are there, and all are done with the stage that is filled now
    ring_fill<R>(a, ops, share, copies, s + R::kStages - 1, shared + next * R::kStage);
    const int32_t brick = begin + s;
    const bool closes = ((brick + 1) & ((1 << share.shift) - 1)) == 0 || brick + 1 == end;
    if (works && brick < end)
      ring_brick<Type, R>(a, ops, shared + at * R::kStage, part, which, tile0, closes, group, total);
    if (++at == R::kStages) at = 0;
    if (++next == R::kStages) next = 0;
  }
  ops.template wait_copies<0>();
  ops.sync();

  float* sum = ops.shared();  // [parts][tokens][kRowPad]
  const int32_t row0 = which % R::kStripes * kBrickSide + tile0 * 16 + lane / 4;
#pragma unroll
  for (int32_t tile = 0; tile < kRingTiles; ++tile)
#pragma unroll
    for (int32_t n = 0; n < R::kTiles; ++n)
#pragma unroll
      for (int32_t i = 0; i < 4; ++i)
        sum[(part * R::kTokens + n * 8 + lane % 4 * 2 + i % 2) * R::kRowPad + row0 + tile * 16 + i / 2 * 8] =
            total.v[tile][n][i];
  ops.sync();
  constexpr int32_t kEach = R::kTokens * R::kRows / kRingThreads, kStep = kRingThreads / R::kRows;
  const int32_t row = ops.thread() % R::kRows, token0 = ops.thread() / R::kRows;
  float sums[kEach];
#pragma unroll
  for (int32_t i = 0; i < kEach; ++i) {
    sums[i] = sum[(token0 + i * kStep) * R::kRowPad + row];
    if constexpr (R::kParts == 2) sums[i] += sum[(R::kTokens + token0 + i * kStep) * R::kRowPad + row];
  }
  if (a.splits > 1 && !ring_gather<R>(a, ops, row, token0, sums)) return;
  const int32_t out_row = share.stripe * kBrickSide + row;
  if (out_row >= a.w.rows) return;
  const float bias = a.bias ? ops.load_float32(a.bias + out_row) : 0.0f;
#pragma unroll
  for (int32_t i = 0; i < kEach; ++i) {
    const int32_t token = token0 + i * kStep;
    if (token < a.m) ops.store_float(a.y, token * a.y_stride + out_row, a.y_type, sums[i] + bias);
  }
}

}  // namespace qz::cuda
