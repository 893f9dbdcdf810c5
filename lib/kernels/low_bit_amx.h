// Tiles for products with weights of few bits: four sums of `rows` rows of x times 16 rows of weights each, in
// registers 0 to 3; x in register 4, weights in 5 to 7.
//
// In assembler, since what GCC 12's intrinsics read and write is unknown to it: keep_order() stands between the stores
// and loads of vectors and those of tiles.
#pragma once
#include <cstdint>

#include "kernels/amx.h"
#include "kernels/low_bit_avx512.h"

namespace qz {
namespace {

inline QZ_INLINE void keep_order() { __asm__ volatile("" ::: "memory"); }

#define QZ_TILE_LOAD(tile, from) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(int64_t{64}))
#define QZ_TILE_STORE(tile, to) \
  __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"(int64_t{64}) : "memory")

inline QZ_INLINE void clear_sums() {
  __asm__ volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3");
}

inline QZ_INLINE void load_sums(const uint8_t* from) {
  QZ_TILE_LOAD(0, from);
  QZ_TILE_LOAD(1, from + 1024);
  QZ_TILE_LOAD(2, from + 2048);
  QZ_TILE_LOAD(3, from + 3072);
}

inline QZ_INLINE void store_sums(uint8_t* to) {
  QZ_TILE_STORE(0, to);
  QZ_TILE_STORE(1, to + 1024);
  QZ_TILE_STORE(2, to + 2048);
  QZ_TILE_STORE(3, to + 3072);
}

// Sums + a tile of x times four of weights, which follow each other.
#define QZ_FOUR_PRODUCTS(instruction, x, weights)         \
  do {                                                    \
    QZ_TILE_LOAD(4, x);                                   \
    QZ_TILE_LOAD(5, weights);                             \
    __asm__ volatile(instruction " %tmm5, %tmm4, %tmm0"); \
    QZ_TILE_LOAD(6, (weights) + 1024);                    \
    __asm__ volatile(instruction " %tmm6, %tmm4, %tmm1"); \
    QZ_TILE_LOAD(7, (weights) + 2048);                    \
    __asm__ volatile(instruction " %tmm7, %tmm4, %tmm2"); \
    QZ_TILE_LOAD(5, (weights) + 3072);                    \
    __asm__ volatile(instruction " %tmm5, %tmm4, %tmm3"); \
  } while (0)

// A part of a group: its first step of all of x's, how many, and its first place. A step is what a tile holds of a row.
struct Run {
  int64_t group = 0, step = 0, steps = 0, place = 0;
  bool ends = false;  // the group
};

// Runs of at most `most` steps of `places` places.
inline QZ_INLINE Run run_at(const TileView& w, int64_t group, int64_t step, int64_t place, int64_t places,
                            int64_t most) {
  while (group < w.groups && place >= w.starts[group + 1]) place = w.starts[++group];
  Run run;
  run.group = group, run.step = step, run.place = place;
  if (group == w.groups) return run;
  const int64_t left = (w.starts[group + 1] - place + places - 1) / places;
  run.steps = left < most ? left : most;
  run.ends = run.steps == left;
  return run;
}
inline QZ_INLINE Run run_after(const TileView& w, const Run& run, int64_t places, int64_t most) {
  const int64_t place = run.ends ? w.starts[run.group + 1] : run.place + run.steps * places;
  return run_at(w, run.ends ? run.group + 1 : run.group, run.step + run.steps, place, places, most);
}

}  // namespace
}  // namespace qz
