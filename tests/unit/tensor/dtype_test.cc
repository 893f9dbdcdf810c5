#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace qz {
namespace {

// The order of the enum in huggingface/safetensors, safetensors/src/tensor.rs, and the sizes given there.
struct Published {
  const char* name;
  uint32_t bits;
};
const std::vector<Published> kPublished = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};

TEST(DTypeTest, EveryPublishedNameHasItsBitsAndRank) {
  int32_t before = -1;
  for (const Published& p : kPublished) {
    const SafetensorsDType found = safetensors_dtype(p.name);
    EXPECT_NE(found.dtype, DType::kNone) << p.name;
    EXPECT_EQ(found.bits, p.bits) << p.name;
    EXPECT_GT(found.rank, before) << p.name;
    before = found.rank;
  }
}

TEST(DTypeTest, UnknownNamesAreNone) {
  for (const char* name : {"", "f32", "F3", "F322", "BF16 ", "F8", "Q4_0"}) {
    const SafetensorsDType found = safetensors_dtype(name);
    EXPECT_EQ(found.dtype, DType::kNone) << name;
    EXPECT_EQ(found.bits, 0u) << name;
  }
}

TEST(DTypeTest, NamesGoThereAndBack) {
  for (int32_t value = 1; value <= 15; ++value) {
    const auto dtype = static_cast<DType>(value);
    const SafetensorsDType found = safetensors_dtype(dtype_name(dtype));
    EXPECT_EQ(found.dtype, dtype) << value;
    EXPECT_EQ(found.bits, dtype_bits(dtype)) << value;
  }
  for (const DType dtype : {DType::kNone, DType::kOther, static_cast<DType>(99)}) {
    EXPECT_STREQ(dtype_name(dtype), "?");
    EXPECT_EQ(dtype_bits(dtype), 0u);
  }
}

TEST(DTypeTest, OnlyThreeTypesAreWeights) {
  for (int32_t value = 0; value <= 15; ++value)
    EXPECT_EQ(is_float(static_cast<DType>(value)), value >= 1 && value <= 3);
}

}  // namespace
}  // namespace qz
