// One product, out [64][64] = a b^T of a and b [64][64 steps], three times, by each kind of asynchronous instruction:
// what the emulator takes them for, on the host (async_test.cc) and on a GPU (tools/gpu/probe.cu), with the same
// bodies.
#pragma once
#include "args.h"
#include "expand.h"
#include "swizzle.h"

namespace qz::cuda {

struct ProbeArgs {
  const uint16_t *a, *b;  // whole numbers, so that every order of addition gives the same
  float* out;
  int32_t steps;
};

constexpr int32_t kProbeThreads = 128;  // four warps of 16 rows of a
constexpr int32_t kProbeStages = 3;
constexpr int32_t kProbePadded =
    kTileRowBytes + 16;                      // rows of bulk copies, which exchange nothing: other banks by padding
constexpr int32_t kProbeStageBytes = 10240;  // 64 padded rows, a multiple of 1,024
constexpr int32_t kProbeBytes = kProbeStages * (kProbeStageBytes + 16);

enum class Probe : int32_t { kCopies, kBulk, kWide };
// What is left out, to see that it is missed.
enum class Omit : int32_t { kNothing, kWait, kSync, kFree };

template <class Ops>
QZ_BOTH inline void probe_a(const ProbeArgs& p, Ops& ops, int32_t step, int32_t atom, uint32_t (&a)[4]) {
  const int32_t lane = ops.thread() % 32, row = ops.thread() / 32 * 16 + lane / 4;
  for (int32_t i = 0; i < 4; ++i)
    a[i] = ops.load_4(p.a + (row + i % 2 * 8) * p.steps * 64 + step * 64 + atom * 16 + i / 2 * 8 + lane % 4 * 2);
}

// place(row, chunk): bytes in the stage.
template <class Type, class Ops, class Place>
QZ_BOTH inline void probe_step(const ProbeArgs& p, Ops& ops, int32_t step, const char* stage, Place place,
                               float (&c)[8][4]) {
  const int32_t lane = ops.thread() % 32;
  for (int32_t atom = 0; atom < 4; ++atom) {
    uint32_t a[4];
    probe_a(p, ops, step, atom, a);
    for (int32_t n = 0; n < 8; n += 2) {
      uint32_t r[4];
      ops.load_matrices(stage + place(n * 8 + lane / 16 * 8 + lane % 8, atom * 2 + lane / 8 % 2), r);
      const uint32_t left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
      ops.template mma<Type>(c[n], a, left);
      ops.template mma<Type>(c[n + 1], a, right);
    }
  }
}

template <class Ops>
QZ_BOTH inline void probe_fill(const ProbeArgs& p, Ops& ops, int32_t step) {
  char* stage = reinterpret_cast<char*>(ops.shared()) + step % kProbeStages * kProbeStageBytes;
  for (int32_t i = ops.thread(); i < 64 * kTileChunks && step < p.steps; i += kProbeThreads) {
    const int32_t row = i / kTileChunks, chunk = i % kTileChunks;
    ops.copy_16(stage + tile_place(row, chunk), p.b + row * p.steps * 64 + step * 64 + chunk * 8, 16);
  }
  ops.commit_copies();
}

template <class Type, Probe kProbe, Omit kOmit, class Ops>
QZ_BOTH inline void probe_ring(const ProbeArgs& p, Ops& ops, float (&c)[8][4]) {
  const char* shared = reinterpret_cast<const char*>(ops.shared());
  float wide[32] = {};
  for (int32_t s = 0; s < kProbeStages - 1; ++s) probe_fill(p, ops, s);
  for (int32_t s = 0; s < p.steps; ++s) {
    if constexpr (kOmit == Omit::kFree) probe_fill(p, ops, s + kProbeStages - 1);
    if constexpr (kOmit != Omit::kWait) ops.template wait_copies<kProbeStages - (kOmit == Omit::kFree ? 1 : 2)>();
    if constexpr (kOmit != Omit::kSync) ops.sync();
    if constexpr (kOmit != Omit::kFree) probe_fill(p, ops, s + kProbeStages - 1);
    const char* stage = shared + s % kProbeStages * kProbeStageBytes;
    if constexpr (kProbe == Probe::kCopies) {
      probe_step<Type>(p, ops, s, stage, tile_place, c);
    } else {
      uint32_t a[4][4];
      for (int32_t atom = 0; atom < 4; ++atom) probe_a(p, ops, s, atom, a[atom]);
      ops.fence_products();
      for (int32_t atom = 0; atom < 4; ++atom)
        ops.template wgmma<Type>(wide, a[atom], ops.descriptor(stage + atom * 32));
      ops.commit_products();
      ops.template wait_products<0>();
    }
  }
  ops.template wait_copies<0>();
  if constexpr (kProbe == Probe::kWide)
    for (int32_t i = 0; i < 32; ++i) c[i / 4][i % 4] = wide[i];
}

template <class Type, Omit kOmit, class Ops>
QZ_BOTH inline void probe_bulk(const ProbeArgs& p, Ops& ops, float (&c)[8][4]) {
  char* shared = reinterpret_cast<char*>(ops.shared());
  auto* full = reinterpret_cast<uint64_t*>(shared + kProbeStages * kProbeStageBytes);
  uint64_t* empty = full + kProbeStages;
  for (int32_t i = 0; i < kProbeStages && ops.thread() == 0; ++i) {
    ops.init_barrier(full + i, 1);
    ops.init_barrier(empty + i, kProbeThreads);
  }
  ops.fence_barriers();
  if constexpr (kOmit != Omit::kSync) ops.sync();
  for (int32_t s = 1 - kProbeStages; s < p.steps; ++s) {
    const int32_t next = s + kProbeStages - 1, at = next % kProbeStages, fill = next / kProbeStages;
    if (ops.thread() == 0 && next < p.steps) {
      if (kOmit != Omit::kFree && fill > 0) ops.wait_phase(empty + at, static_cast<uint32_t>(fill - 1) % 2);
      ops.arrive_expecting(full + at, 64 * kTileRowBytes);
      for (int32_t row = 0; row < 64; ++row)
        ops.copy_bulk(shared + at * kProbeStageBytes + row * kProbePadded, p.b + row * p.steps * 64 + next * 64,
                      kTileRowBytes, full + at);
    }
    if (s < 0) continue;
    if constexpr (kOmit != Omit::kWait)
      ops.wait_phase(full + s % kProbeStages, static_cast<uint32_t>(s / kProbeStages) % 2);
    const auto padded = [](int32_t row, int32_t chunk) { return row * kProbePadded + chunk * 16; };
    probe_step<Type>(p, ops, s, shared + s % kProbeStages * kProbeStageBytes, padded, c);
    ops.arrive(empty + s % kProbeStages);
  }
}

template <class Type, Probe kProbe, Omit kOmit, class Ops>
QZ_BOTH inline void probe_body(const ProbeArgs& p, Ops& ops) {
  float c[8][4] = {};
  if constexpr (kProbe == Probe::kBulk)
    probe_bulk<Type, kOmit>(p, ops, c);
  else
    probe_ring<Type, kProbe, kOmit>(p, ops, c);
  const int32_t lane = ops.thread() % 32, row = ops.thread() / 32 * 16 + lane / 4;
  for (int32_t n = 0; n < 8; ++n)
    for (int32_t i = 0; i < 4; ++i)
      ops.store_float(p.out, (row + i / 2 * 8) * 64 + n * 8 + lane % 4 * 2 + i % 2, Float::kF32, c[n][i]);
}

}  // namespace qz::cuda
