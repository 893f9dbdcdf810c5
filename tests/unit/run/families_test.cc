// Every family through the whole job: quantized, written in each format that takes its shapes, opened again, and asked
// for logits; those of the file must be those of the matrices in memory, and those of the dequantized model.
#include "run/options_json.h"
#include "run/save.h"
#include "run/verify.h"
#include "unit/run/models.h"

namespace qz {
namespace {

const char* const kFamilies[] = {"bloom",
                                 "bloom-residual-normed",
                                 "deepseek-v2",
                                 "deepseek-v2-lite",
                                 "deepseek-v3",
                                 "falcon-11b",
                                 "falcon-40b-style",
                                 "falcon-7b-style",
                                 "falcon-rw",
                                 "gemma",
                                 "gemma2",
                                 "gemma3",
                                 "glm4",
                                 "gpt-neox",
                                 "gpt-neox-sequential",
                                 "gpt2",
                                 "helium",
                                 "internvl-qwen3",
                                 "llama-128",
                                 "llama3-rope-gqa",
                                 "mistral-sliding",
                                 "mixtral",
                                 "opt-350m-style",
                                 "opt-pre-ln",
                                 "phi3-fused",
                                 "phi3-longrope",
                                 "qwen2-128",
                                 "qwen2-moe",
                                 "qwen2_5-vl",
                                 "qwen3-moe",
                                 "qwen3-qknorm",
                                 "starcoder2"};

struct Job {
  Method method;
  const char* scheme;  // "": integers in the groups that the family's shapes allow
  std::vector<FormatId> formats;
};
const Job kJobs[] = {
    {Method::kRtn, "", {FormatId::kCompressed, FormatId::kGptq, FormatId::kGptqV2, FormatId::kAwq}},
    {Method::kGptq, "", {FormatId::kCompressed, FormatId::kGptq, FormatId::kGptqV2, FormatId::kAwq}},
    {Method::kRtn, "nf4", {FormatId::kBitsandbytes}},
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); i++)
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

class Families : public testing::TestWithParam<const char*> {};

TEST_P(Families, AreWrittenAndReadBack) {
  const std::string name = GetParam();
  const ModelPtr model = golden(name, 2);
  const TokenSet tokens = random_tokens(*model, 5, 40);
  // Shapes of these models are multiples of 16, but for 72 columns and the latents of DeepSeek.
  const bool odd = name == "qwen3-qknorm" || name.rfind("phi3", 0) == 0 || name.rfind("deepseek", 0) == 0;
  const TempDir dir;
  for (const Job& job : kJobs) {
    const std::string scheme = job.scheme[0] != '\0' ? job.scheme : odd ? "w4row" : "w4g16";
    Rule all = rule("*", job.method, scheme);
    all.gptq.metric = 3;
    RunOptions options;
    options.format = job.formats.front();
    const ModelPtr memory = run(plan_of(model, {all}), &tokens, options);
    ASSERT_NE(memory, nullptr);
    const std::vector<float> want = logits_of(memory);
    EXPECT_GT(largest_difference(want, logits_of(model)), 1e-3) << "quantizing changed nothing";
    for (const FormatId format : job.formats) {
      const std::string path = dir / (std::string(find_format(format)->name) + method_name(job.method) + scheme);
      WriteOptions write;
      write.format = format;
      const Status saved = save_model(*memory, path, write, nullptr);
      if (!saved.ok() &&
          format != job.formats.front()) {  // kernels of GPTQ want tiles of 32, AWQ's layout groups of 32
        expect_failure(saved, Code::kUnsupported, {std::string(find_format(format)->name)});
        continue;
      }
      ASSERT_TRUE(saved.ok()) << find_format(format)->name << ": " << saved.text();
      const ModelPtr file = open_model(path);
      ASSERT_NE(file, nullptr);
      EXPECT_EQ(file->modules().size(), model->modules().size());
      EXPECT_TRUE(logits_of(file) == want) << find_format(format)->name;
      EXPECT_TRUE(verify_directory(*memory, path, nullptr)->ok());
      // The same weights without codes, in the checkpoint's type, whose rounding is all that differs.
      WriteOptions plain;
      plain.format = FormatId::kPlain;
      ASSERT_TRUE(save_model(*file, path + "-plain", plain, nullptr).ok());
      const ModelPtr dense = open_model(path + "-plain");
      ASSERT_NE(dense, nullptr);
      for (size_t i = 0; i < model->modules().size(); i++) {
        if (!memory->quantized(i)) continue;
        const Matrix a = *memory->load_weight(i), b = *dense->load_weight(i);
        for (int64_t j = 0; j < a.rows() * a.cols(); j++)
          ASSERT_NEAR(a.data()[j], b.data()[j], 8e-3f * std::fabs(a.data()[j]) + 1e-6f) << model->modules()[i].name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Families, testing::ValuesIn(kFamilies), [](const auto& which) {
  std::string name = which.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace qz
