// Parts of GGUF blocks, 16 side by side. The weights of a part are w = scale * p - offset, p one of the points.
#pragma once
#include "method/lanes.h"
#include "method/lattice.h"
#include "packed/block_code.h"

namespace qz {

constexpr int kMostPart = 32;  // weights of a part

// What codes can stand for.
struct PartGrid {
  PartGrid(const BlockCode& block, const Points& p)
      : points(p), zero(block.uniform ? -block.points[0] : 0), bits(block.bits), offset(block.offset) {}
  const Points& points;
  float zero;  // makes points of integers out of codes
  int bits;
  BlockOffset offset;
};

struct Parts {
  int n = 0;           // weights of a part
  Lanes x[kMostPart];  // weights
  Lanes h[kMostPart];  // importance of their errors, not below 0
  Lanes total;         // of h
};

// For a scale, an offset, and the nearest points p that they give: sums of h times each, r = x + offset - scale * p.
struct PartSums {
  Lanes rr, r, rp, p, pp;
};

struct PartFit {
  Lanes scale, offset, error;  // error: the sum of h r^2
};

// A scale of 0 makes every weight minus the offset.
void measure(const PartGrid& grid, const Parts& in, const Lanes& scale, const Lanes& offset, PartSums* out);
// The nearest points as codes: those of part l at codes[l][...].
void choose_codes(const PartGrid& grid, const Parts& in, const Lanes& scale, const Lanes& offset,
                  uint8_t codes[kLanes][kMostPart]);
// The best scale and offset of each part, any numbers that the kind of offset allows: ranges are tried, each followed
// by least squares for the points that it gives.
void search_parts(const PartGrid& grid, const Parts& in, PartFit* out);

}  // namespace qz
