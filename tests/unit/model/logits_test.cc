// The forward pass against transformers: logits of whole sequences at once, and token by token through the KV cache.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "unit/model/goldens.h"

namespace qz {
namespace {

struct Difference {
  double absolute = 0, relative = 0;  // relative to the largest logit of the golden
};

Difference difference(const std::vector<float>& mine, const std::vector<float>& golden) {
  Difference d;
  double scale = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    d.absolute = std::max(d.absolute, std::abs(static_cast<double>(mine[i]) - static_cast<double>(golden[i])));
    scale = std::max(scale, std::abs(static_cast<double>(golden[i])));
    if (std::isnan(mine[i])) d.absolute = INFINITY;
  }
  d.relative = d.absolute / scale;
  return d;
}

// All logits of the golden's tokens, `step` tokens a call.
Result<std::vector<float>> run(const ModelPtr& model, const Golden& golden, int64_t step) {
  const int64_t batch = golden.tokens.shape[0], length = golden.tokens.shape[1], outputs = model->config().outputs;
  QZ_ASSIGN(std::unique_ptr<Session> session, Session::create(model, 0, batch));
  std::vector<float> logits(golden.logits.data.size());
  const bool pooled = model->config().pooled;
  for (int64_t at = 0; at < length; at += step) {
    const int64_t n = std::min(step, length - at), rows = pooled ? 1 : n;
    std::vector<int32_t> ids;
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t i = 0; i < n; ++i) ids.push_back(golden.tokens.data[static_cast<size_t>(b * length + at + i)]);
    }
    std::vector<float> some(static_cast<size_t>(batch * rows * outputs));
    QZ_TRY(session->step(ids.data(), n, true, some.data()));
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t to = pooled ? b : b * length + at;
      std::copy_n(some.begin() + b * rows * outputs, rows * outputs, logits.begin() + to * outputs);
    }
  }
  return logits;
}

class Logits : public testing::TestWithParam<std::string> {};

TEST_P(Logits, EqualTransformers) {
  const std::string dir = "tests/data/goldens/" + GetParam();
  const Golden golden = read_golden(dir);
  Result<ModelPtr> model = Model::open(make_context(2), dir);
  ASSERT_TRUE(model.ok()) << model.status().text();
  const ModelConfig& config = (*model)->config();
  ASSERT_EQ(golden.logits.shape.size(), config.pooled ? 2u : 3u) << dir;
  ASSERT_EQ(config.outputs, golden.logits.shape.back());
  const int64_t length = golden.tokens.shape[1];
  const std::vector<float> whole = golden.logits.data;
  // Longrope turns by the length at hand, and keys in a cache keep the angles of the length that they were made at:
  // token by token gives other numbers, in transformers too.
  const Npy<float> one_by_one = read_npy<float>(dir + "/logits_one_by_one.npy");
  std::string row = GetParam() + std::string(48 - std::min<size_t>(48, GetParam().size()), ' ');
  for (const auto& [name, step] :
       {std::pair{"prefill", length}, std::pair{"decode", int64_t{1}}, std::pair{"by 5", int64_t{5}}}) {
    if (step < length && !config.causal) {
      row += " | " + std::string(name) + ": an encoder reads whole texts";
      continue;
    }
    if (step == 5 && !one_by_one.data.empty()) continue;
    const Result<std::vector<float>> logits = run(*model, golden, step);
    ASSERT_TRUE(logits.ok()) << logits.status().text();
    const Difference d = difference(*logits, step == 1 && !one_by_one.data.empty() ? one_by_one.data : whole);
    EXPECT_LT(d.relative, 1e-5) << step << " tokens a step";
    char cell[64];
    std::snprintf(cell, sizeof cell, " | %s abs %.2e rel %.2e", name, d.absolute, d.relative);
    row += cell;
  }
  std::printf("%s\n", row.c_str());
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Models, Logits,
    testing::Values("models/llama-tied", "models/llama3-rope-gqa", "models/llama3-rope-gqa-v4config",
                    "models/mistral-sliding", "models/qwen2-bias-2shards", "models/qwen3-qknorm", "models/opt-pre-ln",
                    "models/opt-350m-style", "models/llama-128", "models/qwen2-128", "models/bloom",
                    "models/falcon-7b-style", "models/falcon-40b-style", "models/gpt2", "models/phi3-fused",
                    "models/gemma2", "models/mixtral", "models/qwen2-moe", "models/qwen3-moe",
                    "models/qwen3-moe-v4config", "models/gemma", "models/gemma3", "models/gpt-neox",
                    "models/gpt-neox-sequential", "models/starcoder2", "models/glm4", "models/falcon-rw",
                    "models/falcon-11b", "models/bloom-residual-normed", "models/phi3-longrope", "models/deepseek-v2",
                    "models/deepseek-v2-lite", "models/deepseek-v3", "models/helium", "models/internvl-qwen3",
                    "models/qwen2_5-vl", "models/qwen3-fp8", "models/deepseek-v3-fp8", "models/bert", "models/roberta",
                    "models/bert-classifier", "models/roberta-classifier"),
    test_name);

// Packed by GPTQModel, llm-compressor and bitsandbytes; the logits come from the weights that those tools decode.
INSTANTIATE_TEST_SUITE_P(Quantized, Logits,
                         testing::Values("quantized/llama-128-gptq-4bit-sym-g128",
                                         "quantized/qwen2-128-gptq-4bit-sym-g64-descact",
                                         "quantized/qwen2-128-ct-w4a16-g128", "quantized/llama-128-awq-4bit-g128",
                                         "quantized/qwen2-128-bnb-nf4-dq", "quantized/llama-128-gguf-q4_0",
                                         "quantized/llama-256-gguf-q4_k_m", "quantized/qwen2-128-gguf-q8_0"),
                         test_name);

}  // namespace
}  // namespace qz
