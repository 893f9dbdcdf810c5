#include "estimate/capability.h"

#include <gtest/gtest.h>

#include "estimate/devices.h"

namespace qz {
namespace {

TEST(Capability, RowsAreFoundByTheNewestLowerOfTheSameMajor) {
  EXPECT_EQ(find_capability(90)->number, 90);
  EXPECT_EQ(find_capability(87)->number, 86);  // Orin
  EXPECT_EQ(find_capability(121)->number, 120);
  EXPECT_EQ(find_capability(60), nullptr);
  EXPECT_EQ(find_capability(110), nullptr);
  EXPECT_EQ(find_capability(0), nullptr);
}

// The table of TransformerEngine: BF16 from 8.0, FP8 from 8.9, FP4 from 10.0.
TEST(Capability, FloatFormatsAppearWhereTheVendorSays) {
  for (const Capability& row : capabilities()) {
    EXPECT_EQ(row.bf16.support, row.number >= 80 ? Support::kYes : Support::kNo) << row.number;
    EXPECT_EQ(row.fp8.support, row.number >= 89 ? Support::kYes : Support::kNo) << row.number;
    EXPECT_EQ(row.fp4.support == Support::kNo, row.number < 100) << row.number;
  }
}

TEST(Capability, EveryCellHasAReasonAndASource) {
  for (const Capability& row : capabilities())
    for (const Cell* cell : {&row.int4, &row.int8, &row.bf16, &row.fp8, &row.fp4}) {
      EXPECT_FALSE(cell->why.empty()) << row.number;
      EXPECT_FALSE(cell->source.empty()) << row.number;
    }
}

TEST(Capability, EveryGpuModelHasARow) {
  for (const GpuModel& model : gpu_models()) {
    const Capability* row = find_capability(model.capability);
    ASSERT_NE(row, nullptr) << model.name;
    EXPECT_EQ(row->number, model.capability) << model.name;
  }
}

TEST(Capability, NamesAreWholeWords) {
  EXPECT_EQ(find_gpu_model("NVIDIA A10")->name, "A10");
  EXPECT_EQ(find_gpu_model("NVIDIA A100-SXM4-80GB")->name, "A100-SXM4-80GB");
  EXPECT_EQ(find_gpu_model("NVIDIA A100-PCIE-40GB"), nullptr);
  EXPECT_EQ(find_gpu_model("NVIDIA L40S")->name, "L40S");
  EXPECT_EQ(find_gpu_model("NVIDIA L4")->name, "L4");
}

TEST(Capability, ADeviceComesFromItsName) {
  const auto t4 = device_from_name("T4");
  ASSERT_TRUE(t4.ok());
  EXPECT_EQ(t4->memory_total, 16ull << 30);
  EXPECT_EQ(t4->arch, "sm_75");
  const auto none = device_from_name("Voodoo 2");
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.status().text().find("H200"), std::string::npos);
  EXPECT_FALSE(device_from_name("").ok());
}

}  // namespace
}  // namespace qz
