#include "packed/scheme.h"

#include <gtest/gtest.h>

namespace qz {
namespace {

TEST(Scheme, PresetsSayWhatTheyMean) {
  struct {
    const char* name;
    int32_t bits, group;
    bool symmetric;
  } const cases[] = {
      {"w2g64", 2, 64, true},
      {"w3g128", 3, 128, true},
      {"w4g128", 4, 128, true},
      {"w4g128a", 4, 128, false},
      {"w4g32", 4, 32, true},
      {"w8", 8, kGroupRow, true},
      {"w8row", 8, kGroupRow, true},
      {"w8a", 8, kGroupRow, false},
      {"w8g128", 8, 128, true},
      {"int8", 8, kGroupRow, true},
      {"w8tensor", 8, kGroupTensor, true},
      {"w4tensora", 4, kGroupTensor, false},
      {"w2g16", 2, 16, true},
      {"w4g1024", 4, 1024, true},
  };
  for (const auto& c : cases) {
    Result<Scheme> s = scheme_preset(c.name);
    ASSERT_TRUE(s.ok()) << c.name << ": " << s.status().text();
    EXPECT_EQ(s->bits, c.bits) << c.name;
    EXPECT_EQ(s->group, c.group) << c.name;
    EXPECT_EQ(s->symmetric, c.symmetric) << c.name;
    EXPECT_EQ(s->scale, DType::kNone) << c.name;
  }
}

TEST(Scheme, NamesAreTheInverseOfPresets) {
  for (int32_t bits : {2, 3, 4, 8})
    for (int32_t group : {kGroupRow, kGroupTensor, 16, 24, 128, 1024})
      for (bool symmetric : {true, false}) {
        const Scheme s = {CodeKind::kInt, bits, group, symmetric, DType::kNone};
        Result<Scheme> back = scheme_preset(scheme_name(s));
        ASSERT_TRUE(back.ok()) << scheme_name(s);
        EXPECT_EQ(*back, s) << scheme_name(s);
      }
  EXPECT_EQ(scheme_name({CodeKind::kInt, 4, 128, false, DType::kNone}), "w4g128a");
  EXPECT_EQ(scheme_name({CodeKind::kInt, 8, kGroupRow, true, DType::kNone}), "w8");
}

TEST(Scheme, WrongPresetsAreRefusedWithTheirName) {
  for (const char* name : {"", "w", "4g128", "w4g", "w4g128b", "w4g128aa", "w4a16", "w-4", "w4g-1", "w4g+64", "W4g128",
                           "w99999999999", "w4 ", "int4", "w4g128 "}) {
    Result<Scheme> s = scheme_preset(name);
    ASSERT_FALSE(s.ok()) << name;
    EXPECT_EQ(s.status().code(), Code::kInvalidArgument) << name;
    EXPECT_NE(s.status().text().find(name), std::string::npos) << s.status().text();
  }
  EXPECT_EQ(scheme_preset("w5g128").status().text(), "w5g128: scheme: bits 5, expected 2, 3, 4 or 8");
  EXPECT_NE(scheme_preset("w4g12").status().text().find("group 12,"), std::string::npos);
}

TEST(Scheme, CodesOtherThanIntegersHaveNames) {
  for (const char* name :
       {"nf4",     "nf4-dq",  "nf4b128", "nf4b4096-dq",   "fp4",      "fp4-dq", "fp8",    "fp8tensor",
        "fp8b128", "fp8g128", "fp8-a8",  "fp8tensor-a8s", "llm-int8", "w4g64f", "w1g64f", "w8f",
        "w8a8",    "w8a8s",   "w8aa8",   "w4g128a8",      "q4_0",     "q8_0"}) {
    Result<Scheme> s = scheme_preset(name);
    ASSERT_TRUE(s.ok()) << name << ": " << s.status().text();
    EXPECT_EQ(scheme_name(*s), name);
  }
  EXPECT_EQ(scheme_preset("nf4")->grouping, Grouping::kFlat);
  EXPECT_EQ(scheme_preset("nf4-dq")->nested, 256);
  EXPECT_EQ(scheme_preset("fp8b128")->grouping, Grouping::kTile);
  EXPECT_TRUE(scheme_preset("w8a8")->symmetric);
  EXPECT_FALSE(scheme_preset("w8aa8")->symmetric);
  EXPECT_EQ(scheme_preset("w8a8s")->activations, Activations::kTensor);
  for (const char* name : {"nf4b", "nf4b48", "nf4b16", "nf4-", "nf5", "fp8b", "fp8-", "fp8-a", "llm-int8x", "w1g64",
                           "w4fa", "w4a8x", "q4_9", "Q4_0", "nf4b64-dq "})
    EXPECT_FALSE(scheme_preset(name).ok()) << name;
}

TEST(Scheme, FieldsThatContradictEachOtherAreRefused) {
  Scheme s = *scheme_preset("nf4");
  s.bits = 3;
  EXPECT_FALSE(check_consistent(s).ok());
  s = *scheme_preset("nf4");
  s.symmetric = false;
  EXPECT_FALSE(check_consistent(s).ok());
  s = *scheme_preset("llm-int8");
  s.group = 64;
  EXPECT_FALSE(check_consistent(s).ok());
  s = *scheme_preset("w4g64f");
  s.symmetric = true;
  EXPECT_FALSE(check_consistent(s).ok());
  s = *scheme_preset("q4_0");
  s.group = 64;
  EXPECT_FALSE(check_consistent(s).ok());
  s.code = static_cast<CodeKind>(kFirstBlock + 77);
  EXPECT_EQ(check_consistent(s).code(), Code::kUnsupported);
}

TEST(Scheme, LimitsOfTheGroup) {
  Scheme s;
  for (int32_t good : {16, 24, 1024, kGroupRow, kGroupTensor}) {
    s.group = good;
    EXPECT_TRUE(check_scheme(s).ok()) << good;
  }
  for (int32_t bad : {0, -3, 8, 17, 20, 1032, INT32_MAX, INT32_MIN}) {
    s.group = bad;
    EXPECT_EQ(check_scheme(s).code(), Code::kInvalidArgument) << bad;
  }
  s.group = 128;
  s.scale = DType::kI8;
  EXPECT_EQ(check_scheme(s).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace qz
