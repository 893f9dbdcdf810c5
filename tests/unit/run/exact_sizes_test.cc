// What is said beforehand about sizes is what is written: every golden model in every scheme and format that take it,
// byte for byte.
#include "estimate/weights.h"
#include "run/memory.h"
#include "run/shape.h"
#include "unit/run/models.h"

namespace qz {
namespace {

const char* const kSchemes[] = {"w2g16",  "w2row",   "w3g16",  "w3row",  "w4g16", "w4g32",  "w4g128",    "w4row",
                                "w4g32a", "w4g128a", "w8g32",  "w8",     "w8a",   "int8",   "w8a8",      "nf4",
                                "nf4-dq", "nf4b128", "fp4",    "fp4-dq", "fp8",   "fp8-a8", "fp8tensor", "llm-int8",
                                "w4g64f", "w3g64f",  "w2g64f", "w8g64f", "w1g64f"};
constexpr FormatId kFormats[] = {FormatId::kCompressed, FormatId::kGptq, FormatId::kGptqV2,
                                 FormatId::kGptqPlanar, FormatId::kAwq,  FormatId::kBitsandbytes,
                                 FormatId::kHqq,        FormatId::kEetq};

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldenModels))
    if (entry.is_directory()) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

uint64_t tensor_bytes(const Model& model) {
  uint64_t sum = 0;
  for (const TensorInfo& t : model.checkpoint()->tensors()) sum += t.bytes;
  return sum;
}

uint64_t weight_files(const std::string& dir) {
  uint64_t sum = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir))
    if (const std::string name = entry.path().filename(); name.rfind("model", 0) == 0) sum += entry.file_size();
  return sum;
}

uint64_t sum_of(const WeightTable& table) {
  uint64_t sum = table.embedding + table.others;
  for (const MatrixBytes& m : table.linears) sum += m.codes + m.scales;
  return sum;
}

class ExactSizes : public testing::TestWithParam<std::string> {};

TEST_P(ExactSizes, AreWhatIsWritten) {
  const ModelPtr model = golden(GetParam());
  ASSERT_NE(model, nullptr);
  int made = 0;
  for (const char* scheme : kSchemes)
    for (const FormatId id : kFormats) {
      const std::string name = std::string(find_format(id)->name) + ":" + scheme;
      const auto parsed = scheme_preset(scheme);
      ASSERT_TRUE(parsed.ok()) << scheme << ": " << parsed.status().text();
      const Plan plan = plan_of(model, {rule("*", parsed->float_zero ? Method::kHqq : Method::kRtn, scheme)});
      const auto modules = resolve_plan(plan, id, false);
      if (!modules.ok() || !find_format(id)->config(summarize_plan(*model, *modules)).ok()) continue;  // cannot hold it
      const TempDir dir;
      RunOptions options;
      options.format = id;
      options.stream_to = dir / "out";
      const ModelPtr out = run(plan, nullptr, options);
      ASSERT_NE(out, nullptr) << name;
      made++;
      RunSize size;
      size.format = id;
      const auto announced = estimate_run(plan, size);
      ASSERT_TRUE(announced.ok()) << announced.status().text();
      EXPECT_EQ(announced->total(Where::kDisk), weight_files(dir / "out")) << name;
      const auto table = store_weights(shape_of(*model), name);
      ASSERT_TRUE(table.ok()) << name << ": " << table.status().text();
      if (table->kept.empty()) {
        EXPECT_EQ(sum_of(*table), tensor_bytes(*out)) << name;
      }
      ModelShape planned = shape_of(*model);
      ASSERT_TRUE(store_plan(plan, id, &planned).ok());
      EXPECT_EQ(sum_of(*store_weights(planned, "")), tensor_bytes(*out)) << name;
    }
  EXPECT_GT(made, 10);
}

INSTANTIATE_TEST_SUITE_P(Models, ExactSizes, testing::ValuesIn(golden_names()), [](const auto& which) {
  std::string name = which.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace qz
