#include "sample.h"

namespace qz {
namespace {

TEST(List, FormatsAreInOrderAndComplete) {
  FormatId last = FormatId::kDefault;
  for (const Format& f : formats()) {
    EXPECT_GT(f.id, last);
    last = f.id;
    EXPECT_EQ(find_format(f.id), &f);
    EXPECT_FALSE(f.name.empty());
    EXPECT_FALSE(f.part_names.empty());
    EXPECT_TRUE(f.can_store && f.scale_dtype && f.layout && f.encode && f.decode && f.config && f.extra_files &&
                f.stored_scheme);
  }
  EXPECT_EQ(find_format(FormatId::kDefault)->id, FormatId::kCompressed);
  EXPECT_EQ(find_format(FormatId::kPlain), nullptr);
  EXPECT_EQ(find_format(static_cast<FormatId>(77)), nullptr);
}

// Codes, scales and zero points survive the way from every format to every other.
TEST(List, FormatsConvertIntoEachOther) {
  for (const Format& from : formats())
    for (const Format& to : formats())
      for (int32_t bits : {2, 3, 4, 8}) {
        const QMatrix q = sample_matrix({CodeKind::kInt, bits, 32, false, DType::kF16}, 32, 64);
        if (!from.can_store(q.scheme, 32, 64, false).ok() || !to.can_store(q.scheme, 32, 64, false).ok()) continue;
        Result<QMatrix> first = from.decode(*from.encode(q), {q.scheme, false, true}, 32, 64);
        ASSERT_TRUE(first.ok());
        Result<QMatrix> second = to.decode(*to.encode(*first), {q.scheme, false, true}, 32, 64);
        ASSERT_TRUE(second.ok());
        expect_equal(*second, q);
      }
}

TEST(List, DetectsByTheConfiguration) {
  auto name = [](const std::string& text) {
    Result<const Format*> f = detect_format(parsed(text));
    return f.ok() ? std::string((*f)->name) : "error: " + f.status().text();
  };
  EXPECT_EQ(name(R"({"quant_method": "gptq"})"), "gptq");
  EXPECT_EQ(name(R"({"quant_method": "gptq", "checkpoint_format": "gptq_v2", "format": "gptq_v2"})"), "gptq_v2");
  EXPECT_EQ(name(R"({"quant_method": "gptq", "format": "gptq_p"})"), "gptq_p");
  EXPECT_EQ(name(R"({"bits": 4, "group_size": 128})"), "gptq");
  EXPECT_EQ(name(R"({"quant_method": "compressed-tensors"})"), "compressed-tensors");
  EXPECT_EQ(name(R"({"config_groups": {}})"), "compressed-tensors");
  const char* marlin =
      "error: quantization_config: format 'marlin', expected one of gptq, gptq_v2, gptq_p, compressed-tensors, awq, "
      "bitsandbytes, hqq, gguf, eetq";
  EXPECT_EQ(name(R"({"quant_method": "gptq", "checkpoint_format": "marlin"})"), marlin);
  EXPECT_EQ(name(R"({"quant_method": "gptq", "is_marlin_format": true})"), marlin);
  EXPECT_EQ(name(R"({"quant_method": "awq", "bits": 4, "group_size": 128})"), "awq");
  EXPECT_EQ(name(R"({"quant_method": 4})"), "error: quantization_config: key 'quant_method' is 4, expected a string");
  EXPECT_EQ(name("{}"), "error: quantization_config: key 'quant_method' is missing");
  EXPECT_EQ(name("[1]"), "error: quantization_config: key 'quant_method' is missing");
}

}  // namespace
}  // namespace qz
