// The body of the product for few tokens: limited by reading the weights, which go from memory to registers once, with
// no stop in shared memory. Weights are the A operand, tokens the 8 columns of B, so that one token costs no more than
// eight.
//
// A block has one stripe of 64 rows and a share of its columns (splits); two of its warps, 32 rows each, have a quarter
// of those. Codes enter the
// matrix units as whole numbers; sums of one group are kept apart and multiplied by their float32 scale at its end, so
// that weights are never rounded. Sums over warps and blocks are in fixed order: the result does not change from run to
// run. The last block of a stripe to arrive adds the shares and leaves its counter at zero.
#pragma once
#include "args.h"
#include "expand.h"

namespace qz::cuda {

constexpr int32_t kStreamThreads = kStreamWarps * 32;
constexpr int32_t kStreamTiles = 2;                                            // of 16 rows, of a warp
constexpr int32_t kStreamParts = kStreamWarps / (kBrickTiles / kStreamTiles);  // of a block's columns
constexpr int32_t kStreamRowPad = 68;  // floats: fragments of 8 x 4 lanes are then stored to 32 different banks

// Floats of shared memory for kTiles tiles of 8 tokens, and one word for the block's vote.
QZ_BOTH constexpr int32_t stream_shared_floats(int32_t tiles) { return kStreamParts * tiles * 8 * kStreamRowPad + 1; }

// Sums of one warp: [tile of rows][tile of tokens], each the C fragment of m16n8: rows l / 4, l / 4 + 8, tokens
// 2 (l % 4), + 1.
template <int32_t kTiles>
struct StreamSums {
  float v[kStreamTiles][kTiles][4] = {};
};

// Of a brick, the lane's pairs of columns of its token in each tile. rows: where those tokens begin, at the lane's
// first columns; lanes without a token have that of another, and what comes of it is not stored.
template <int32_t kTiles, class Ops>
QZ_BOTH inline void load_tokens(const ProductArgs& a, Ops& ops, int32_t brick, const uint16_t* const (&rows)[kTiles],
                                uint32_t (&b)[kBrickAtoms][kTiles][2]) {
  const bool whole = (brick + 1) * kBrickSide <= a.w.cols;
  const int32_t left = a.w.cols - brick * kBrickSide - ops.thread() % 4 * 2;  // columns of the lane
#pragma unroll
  for (int32_t n = 0; n < kTiles; ++n) {
    const uint16_t* row = rows[n] + brick * kBrickSide;
    if (whole) {
#pragma unroll
      for (int32_t i = 0; i < kBrickAtoms * 2; ++i) b[i / 2][n][i % 2] = ops.load_4(row + i * 8);
    } else {  // columns beyond the end are never read, whatever lies there
#pragma unroll
      for (int32_t i = 0; i < kBrickAtoms * 2; ++i) {
        uint32_t pair = i * 8 < left ? ops.load_2(row + i * 8) : 0;
        if (i * 8 + 1 < left) pair |= uint32_t{ops.load_2(row + i * 8 + 1)} << 16;
        b[i / 2][n][i % 2] = pair;
      }
    }
  }
}

// minus_zero() of the lane's two rows in each tile.
template <class Type, class Ops>
QZ_BOTH inline void load_zeros(const ProductArgs& a, Ops& ops, int64_t place, uint32_t (&minus)[kStreamTiles][2]) {
#pragma unroll
  for (int32_t tile = 0; tile < kStreamTiles; ++tile) {
    const uint32_t both = ops.load_2(a.w.zeros + place + tile * 16);
    minus[tile][0] = minus_zero<Type>(both & 255);
    minus[tile][1] = minus_zero<Type>(both >> 8);
  }
}

// total += scale * group, group = 0.
template <int32_t kTiles, class Ops>
QZ_BOTH inline void close_group(const ProductArgs& a, Ops& ops, int64_t place, StreamSums<kTiles>& group,
                                StreamSums<kTiles>& total) {
#pragma unroll
  for (int32_t tile = 0; tile < kStreamTiles; ++tile) {
    float upper, lower;
    ops.load_float_pair(a.w.scales, place + tile * 16, a.w.scale, &upper, &lower);
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

// Bricks [begin, end) of the stripe, rows from tile tile0. kAtoms: 1, 2 or 4 atoms of a brick are in one group (of 16,
// 32, 64 columns or more).
template <class Type, int32_t kTiles, int32_t kAtoms, class Ops>
QZ_BOTH inline void stream_bricks(const ProductArgs& a, Ops& ops, int32_t stripe, int32_t tile0, int32_t begin,
                                  int32_t end, StreamSums<kTiles>& total) {
  constexpr int32_t kDepth = kTiles == 1 ? 4 : 2;  // half bricks in flight, 1 KB each; more does not fit the registers
  using Words = decltype(ops.load_stream(a.w.codes));
  const int32_t lane = ops.thread() % 32;
  const auto bricks = static_cast<int32_t>(bricks_of(a.w.cols));
  const uint32_t* codes =
      a.w.codes + int64_t{stripe} * bricks * kBrickWords + (tile0 * kBrickLanes + lane) * kBrickAtoms;
  const int64_t scales = int64_t{stripe} * a.w.groups * kBrickSide + tile0 * 16 + lane / 4 * 2;
  int32_t shift = a.w.group ? 0 : 30;  // 2^shift bricks are in a group: division takes as long as a brick
  while (a.w.group > kBrickSide << shift) ++shift;
  const int32_t in_group = (1 << shift) - 1;
  const uint16_t* rows[kTiles];
#pragma unroll
  for (int32_t n = 0; n < kTiles; ++n) {
    const int32_t token = n * 8 + lane / 4;
    rows[n] = a.x + (token < a.m ? token : a.m - 1) * a.x_stride + lane % 4 * 2;
  }
  Words flying[kDepth][kStreamTiles];
#pragma unroll
  for (int32_t d = 0; d < kDepth; ++d)
#pragma unroll
    for (int32_t tile = 0; tile < kStreamTiles; ++tile)
      if (begin + d < end)
        flying[d][tile] =
            ops.load_stream(codes + int64_t{begin + d} * kBrickWords + tile * (kBrickLanes * kBrickAtoms));
  StreamSums<kTiles> group;
  uint32_t minus[kStreamTiles][2];
#pragma unroll
  for (int32_t i = 0; i < kStreamTiles * 2; ++i)
    minus[i / 2][i % 2] = minus_zero<Type>(static_cast<uint32_t>(a.w.zero));
  bool open = false;
  for (int32_t first = begin; first < end; first += kDepth) {
#pragma unroll
    for (int32_t d = 0; d < kDepth; ++d) {
      const int32_t brick = first + d;
      if (brick >= end) break;
      uint32_t b[kBrickAtoms][kTiles][2];
      load_tokens<kTiles>(a, ops, brick, rows, b);
#pragma unroll
      for (int32_t atom = 0; atom < kBrickAtoms; ++atom) {
        int32_t g = kAtoms < kBrickAtoms ? brick * (kBrickAtoms / kAtoms) + atom / kAtoms : brick >> shift;
        if (g >= a.w.groups) g = a.w.groups - 1;  // columns that only fill up: zero whatever the scale
        const int64_t place = scales + int64_t{g} * kBrickSide;
        if (a.w.zeros && !open) load_zeros<Type>(a, ops, place, minus);
        open = true;
#pragma unroll
        for (int32_t tile = 0; tile < kStreamTiles; ++tile) {
          uint32_t fragment[4];
          expand_word<Type>(ops, flying[d][tile].v[atom], minus[tile][0], minus[tile][1], fragment);
#pragma unroll
          for (int32_t n = 0; n < kTiles; ++n) ops.template mma<Type>(group.v[tile][n], fragment, b[atom][n]);
        }
        const bool last = kAtoms < kBrickAtoms
                              ? (atom + 1) % kAtoms == 0
                              : atom == kBrickAtoms - 1 && (((brick + 1) & in_group) == 0 || brick + 1 == end);
        if (!last) continue;
        close_group<kTiles>(a, ops, place, group, total);
        open = false;
      }
#pragma unroll
      for (int32_t tile = 0; tile < kStreamTiles; ++tile)
        if (brick + kDepth < end)
          flying[d][tile] =
              ops.load_stream(codes + int64_t{brick + kDepth} * kBrickWords + tile * (kBrickLanes * kBrickAtoms));
    }
  }
}

// Bricks of part `part` of `parts`.
QZ_BOTH constexpr int32_t stream_begin(int32_t bricks, int32_t part, int32_t parts) {
  return static_cast<int32_t>(int64_t{bricks} * part / parts);
}

// Block i has stripe i / splits and share i % splits.
template <class Type, int32_t kTiles, int32_t kAtoms, class Ops>
QZ_BOTH inline void stream_body(const ProductArgs& a, Ops& ops) {
  constexpr int32_t kTokens = kTiles * 8;
  const int32_t stripe = ops.block() / a.splits, split = ops.block() % a.splits;
  const int32_t warp = ops.thread() / 32, lane = ops.thread() % 32;
  const auto bricks = static_cast<int32_t>(bricks_of(a.w.cols));
  const int32_t share = warp % kStreamParts, tile0 = warp / kStreamParts * kStreamTiles;
  const int32_t part = split * kStreamParts + share, parts = a.splits * kStreamParts;
  StreamSums<kTiles> total;
  stream_bricks<Type, kTiles, kAtoms>(a, ops, stripe, tile0, stream_begin(bricks, part, parts),
                                      stream_begin(bricks, part + 1, parts), total);

  float* shared = ops.shared();  // [parts][tokens][kStreamRowPad]
#pragma unroll
  for (int32_t tile = 0; tile < kStreamTiles; ++tile)
#pragma unroll
    for (int32_t n = 0; n < kTiles; ++n)
#pragma unroll
      for (int32_t i = 0; i < 4; ++i)
        shared[(share * kTokens + n * 8 + lane % 4 * 2 + i % 2) * kStreamRowPad + (tile0 + tile) * 16 + lane / 4 +
               i / 2 * 8] = total.v[tile][n][i];
  ops.sync();

  constexpr int32_t kEach = kTokens * kBrickSide / kStreamThreads;
  float sums[kEach];
  const int32_t row = ops.thread() % kBrickSide, token0 = ops.thread() / kBrickSide;
  constexpr int32_t kStep = kStreamThreads / kBrickSide;
#pragma unroll
  for (int32_t i = 0; i < kEach; ++i) {
    sums[i] = 0;
#pragma unroll
    for (int32_t p = 0; p < kStreamParts; ++p)
      sums[i] += shared[(p * kTokens + token0 + i * kStep) * kStreamRowPad + row];
  }
  if (a.splits > 1) {
    float* mine = a.partial + (int64_t{stripe} * a.splits + split) * kTokens * kBrickSide;
#pragma unroll
    for (int32_t i = 0; i < kEach; ++i) ops.store_partial(mine + (token0 + i * kStep) * kBrickSide + row, sums[i]);
    // The vote of the last one to arrive; fences on both sides order the shares with it.
    ops.fence();
    ops.sync();
    float* vote = shared + kStreamParts * kTokens * kStreamRowPad;
    if (ops.thread() == 0) *vote = ops.add_one(a.arrived + stripe) + 1 == static_cast<uint32_t>(a.splits) ? 1.0f : 0.0f;
    ops.sync();
    if (*vote == 0.0f) return;
    ops.fence();
    const float* all = a.partial + int64_t{stripe} * a.splits * kTokens * kBrickSide;
#pragma unroll
    for (int32_t i = 0; i < kEach; ++i) {
      sums[i] = 0;
      for (int32_t s = 0; s < a.splits; ++s)
        sums[i] += ops.load_partial(all + (s * kTokens + token0 + i * kStep) * kBrickSide + row);
    }
    if (ops.thread() == 0) ops.clear(a.arrived + stripe);
  }
  const int32_t out_row = stripe * kBrickSide + row;
  if (out_row >= a.w.rows) return;
  const float bias = a.bias ? ops.load_float32(a.bias + out_row) : 0.0f;
#pragma unroll
  for (int32_t i = 0; i < kEach; ++i) {
    const int32_t token = token0 + i * kStep;
    if (token < a.m) ops.store_float(a.y, token * a.y_stride + out_row, a.y_type, sums[i] + bias);
  }
}

}  // namespace qz::cuda
