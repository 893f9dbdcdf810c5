// How a product is cut: from shapes alone, never more workspace than it says.
#include "plan.h"

#include <gtest/gtest.h>

namespace qz::cuda {
namespace {

TEST(PlanTest, SharesFillTheDevice) {
  constexpr int32_t kH200 = 132;
  for (const auto& [rows, cols] : {std::pair{4096, 4096}, {11008, 4096}, {8192, 8192}, {28672, 8192}, {4096, 14336}}) {
    const int64_t stripes = bricks_of(rows), splits = stream_splits(rows, cols, kH200);
    const int64_t room = kH200 * kBlocksPerMultiprocessor, waves = (stripes * splits + room - 1) / room;
    EXPECT_GE(static_cast<double>(stripes * splits) / static_cast<double>(waves * room), 0.8) << rows << " x " << cols;
  }
  EXPECT_EQ(stream_splits(64, 64, kH200), 1) << "one brick is not cut";
  EXPECT_EQ(stream_splits(kMostStripes * 64 + 64, 64 * 64, kH200), 1) << "more stripes than counters";
}

TEST(PlanTest, RingsFillTheDevice) {
  constexpr int32_t kH200 = 132;
  for (const auto& [rows, cols] : {std::pair{4096, 4096}, {11008, 4096}, {8192, 8192}, {28672, 8192}, {4096, 14336}}) {
    for (const int64_t m : {9, 16, 17, 32, 33, 64}) {
      const RingCut cut = ring_cut(rows, cols, m, kH200);
      const int64_t tiles = (rows + ring_rows(cut.parts) - 1) / ring_rows(cut.parts), room = kH200 * (m <= 16 ? 2 : 1);
      const int64_t blocks = tiles * cut.splits, waves = (blocks + room - 1) / room;
      EXPECT_GE(static_cast<double>(blocks) / static_cast<double>(waves * room), 0.6)
          << rows << " x " << cols << ", " << m << " tokens: " << cut.splits << " shares, " << cut.parts << " parts";
      EXPECT_TRUE(cut.parts == 2 || m > 32);
      EXPECT_EQ(ring_workspace(rows, m, {1, cut.parts}), 0u);
    }
  }
  EXPECT_EQ(ring_cut(64, 64, 64, kH200).splits, 1) << "one brick is not cut";
  EXPECT_EQ(kernel_for(8, false), Kernel::kStream);
  EXPECT_EQ(kernel_for(9, false), Kernel::kRing);
  EXPECT_EQ(kernel_for(64, false), Kernel::kRing);
  EXPECT_EQ(kernel_for(65, false), Kernel::kDense);
  EXPECT_EQ(kernel_for(64, true), Kernel::kRing);
  EXPECT_EQ(kernel_for(65, true), Kernel::kWide);
  EXPECT_EQ(kernel_for(1024, true), Kernel::kWide);
  EXPECT_EQ(kernel_for(1025, true), Kernel::kDense);
}

TEST(PlanTest, SlicesStayInTheCache) {
  for (const auto& [rows, cols] : {std::pair{28672, 8192}, {4096, 4096}, {1, 1}, {64, 1 << 20}}) {
    const int64_t slice = dense_slice(rows, cols);
    EXPECT_EQ(slice % kBrickSide, 0);
    EXPECT_TRUE(slice == kBrickSide || static_cast<uint64_t>(slice * dense_stride(cols) * 2) <= kSliceBytes);
    for (const bool bias : {false, true}) {
      const DenseSpace s = dense_workspace(rows, cols, 100, bias);
      EXPECT_GE(s.weights, kCounterBytes) << "the counters stay at zero";
      EXPECT_GE(s.sums - s.weights, static_cast<uint64_t>(slice * dense_stride(cols)) * 2);
      EXPECT_GE(s.library - s.sums, bias ? static_cast<uint64_t>(slice) * 400 : 0);
      EXPECT_EQ(s.library % 256, 0u);
      EXPECT_EQ(s.total - s.library, kLibraryBytes);
    }
  }
}

}  // namespace
}  // namespace qz::cuda
