// Perplexity and divergence against numbers computed here, plainly, from logits that transformers stored.
#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "unit/model/model_dir.h"

namespace qz {
namespace {

struct Expected {
  double perplexity = 0, kl = 0, top1 = 0;
  int64_t tokens = 0;
};

std::vector<double> probabilities(const float* logits, int64_t vocab) {
  std::vector<double> p(static_cast<size_t>(vocab));
  double sum = 0;
  for (int64_t v = 0; v < vocab; ++v) sum += p[static_cast<size_t>(v)] = std::exp(static_cast<double>(logits[v]));
  for (double& x : p) x /= sum;
  return p;
}

Expected plain(const Golden& model, const Golden& reference) {
  const int64_t batch = model.logits.shape[0], length = model.logits.shape[1], vocab = model.logits.shape[2];
  Expected e;
  double nll = 0;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t + 1 < length; ++t) {
      const std::vector<double> p = probabilities(model.logits.data.data() + (b * length + t) * vocab, vocab);
      const std::vector<double> q = probabilities(reference.logits.data.data() + (b * length + t) * vocab, vocab);
      nll -= std::log(p[static_cast<size_t>(model.tokens.data[static_cast<size_t>(b * length + t + 1)])]);
      for (size_t v = 0; v < p.size(); ++v) e.kl += q[v] * std::log(q[v] / p[v]);
      e.top1 += std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
      ++e.tokens;
    }
  }
  e.perplexity = std::exp(nll / static_cast<double>(e.tokens));
  e.kl /= static_cast<double>(e.tokens);
  e.top1 /= static_cast<double>(e.tokens);
  return e;
}

TokenSet text_of(const Golden& golden) {
  TokenSet text;
  for (int64_t b = 0; b < golden.tokens.shape[0]; ++b) {
    const auto begin = golden.tokens.data.begin() + b * golden.tokens.shape[1];
    text.sequences.emplace_back(begin, begin + golden.tokens.shape[1]);
  }
  return text;
}

ModelPtr open_dir(const std::string& dir, int32_t threads = 1) {
  Result<ModelPtr> model = Model::open(make_context(threads), dir);
  if (!model.ok()) ADD_FAILURE() << model.status().text();
  return *model;
}

TEST(Perplexity, AgainstStoredLogits) {
  for (const char* name : {"qwen3-qknorm", "opt-350m-style", "mistral-sliding"}) {
    const Golden golden = read_golden(kGoldenModels + name);
    const Expected expected = plain(golden, golden);
    const auto result = evaluate_perplexity(*open_dir(kGoldenModels + name), nullptr, text_of(golden), {}, nullptr);
    ASSERT_TRUE(result.ok()) << result.status().text();
    EXPECT_NEAR(result->perplexity, expected.perplexity, 1e-5 * expected.perplexity);
    EXPECT_EQ(result->tokens, expected.tokens);
    EXPECT_EQ(result->protocol, "window-24");
    EXPECT_EQ(result->token_hash, text_of(golden).hash());
    EXPECT_TRUE(std::isnan(result->kl) && std::isnan(result->kl_p99) && std::isnan(result->top1));
    EXPECT_GT(result->tokens_per_s, 0);
  }
}

TEST(Perplexity, DivergenceAgainstStoredLogits) {
  const std::string packed = kGoldenQuantized + "llama-128-gptq-4bit-sym-g128", base = kGoldenModels + "llama-128";
  const Golden golden = read_golden(packed), reference = read_golden(base);
  ASSERT_EQ(golden.tokens.data, reference.tokens.data);
  const Expected expected = plain(golden, reference);
  ASSERT_GT(expected.kl, 1e-4);
  const auto result = evaluate_perplexity(*open_dir(packed), open_dir(base).get(), text_of(golden), {}, nullptr);
  ASSERT_TRUE(result.ok()) << result.status().text();
  EXPECT_NEAR(result->perplexity, expected.perplexity, 1e-5 * expected.perplexity);
  EXPECT_NEAR(result->kl, expected.kl, 1e-4 * expected.kl);
  EXPECT_NEAR(result->top1, expected.top1, 1e-9);
  EXPECT_GT(result->kl_p99, result->kl);
}

TEST(Perplexity, Strided) {
  const std::string dir = kGoldenModels + "llama3-rope-gqa";
  const ModelPtr model = open_dir(dir);
  TokenSet text;
  text.sequences.emplace_back();
  for (int32_t i = 0; i < 53; ++i) text.sequences[0].push_back(i * i * 7 % 288);
  const std::vector<int32_t>& ids = text.sequences[0];
  double nll = 0;
  for (int64_t begin = 0, seen = 0; seen < 53; begin += 6) {  // transformers' guide, one window at a time
    const int64_t end = std::min<int64_t>(begin + 16, 53);
    auto session = Session::create(model, 0);
    std::vector<float> logits(static_cast<size_t>((end - begin) * 288));
    ASSERT_TRUE((*session)->step(ids.data() + begin, end - begin, true, logits.data()).ok());
    for (int64_t t = std::max(seen, begin + 1); t < end; ++t) {
      const auto p = probabilities(logits.data() + (t - begin - 1) * 288, 288);
      nll -= std::log(p[static_cast<size_t>(ids[static_cast<size_t>(t)])]);
    }
    seen = end;
  }
  const auto result = evaluate_perplexity(*model, model.get(), text, {.window = 16, .stride = 6}, nullptr);
  ASSERT_TRUE(result.ok()) << result.status().text();
  EXPECT_EQ(result->tokens, 52);
  EXPECT_NEAR(result->perplexity, std::exp(nll / 52), 1e-4 * result->perplexity);
  EXPECT_EQ(result->kl, 0);
  EXPECT_EQ(result->top1, 1);
}

TEST(Perplexity, ThreadsDoNotMatter) {
  const std::string packed = kGoldenQuantized + "qwen2-128-ct-w4a16-g128", base = kGoldenModels + "qwen2-128";
  TokenSet text;
  text.sequences.emplace_back();
  for (int32_t i = 0; i < 600; ++i) text.sequences[0].push_back(i * i % 256);
  std::vector<EvalResult> results;
  for (int32_t threads : {1, 2, 5}) {
    const auto r =
        evaluate_perplexity(*open_dir(packed, threads), open_dir(base, threads).get(), text, {.window = 50}, nullptr);
    ASSERT_TRUE(r.ok());
    results.push_back(*r);
  }
  for (const EvalResult& r : results) {
    EXPECT_EQ(r.perplexity, results[0].perplexity);
    EXPECT_EQ(r.perplexity_error, results[0].perplexity_error);
    EXPECT_EQ(r.kl, results[0].kl);
    EXPECT_EQ(r.kl_p99, results[0].kl_p99);
    EXPECT_EQ(r.tokens, 12 * 49);
  }
}

TEST(Perplexity, Refused) {
  const ModelPtr llama = open_dir(kGoldenModels + "llama3-rope-gqa"), opt = open_dir(kGoldenModels + "opt-pre-ln");
  TokenSet text;
  text.sequences.push_back({1, 2, 3, 400, 5});
  expect_failure(evaluate_perplexity(*llama, opt.get(), text, {}, nullptr), Code::kInvalidArgument,
                 {"256 tokens", "288"});
  expect_failure(evaluate_perplexity(*llama, nullptr, text, {}, nullptr), Code::kInvalidArgument,
                 {"sequence 0, position 3", "id 400"});
  expect_failure(evaluate_perplexity(*opt, nullptr, text, {.window = 65}, nullptr), Code::kInvalidArgument,
                 {"65", "64 positions"});
}

TEST(Perplexity, NotFinite) {
  ModelDir dir("opt-350m-style");  // F32: a finite weight large enough to overflow the forward pass
  const float huge = 3e38f;
  for (size_t i = 0; i < 48; ++i) {
    std::memcpy(dir.at("model.decoder.layers.1.final_layer_norm.weight").bytes.data() + 4 * i, &huge, 4);
  }
  const Golden golden = read_golden(kGoldenModels + "opt-350m-style");
  expect_failure(evaluate_perplexity(**dir.open(), nullptr, text_of(golden), {}, nullptr), Code::kNumeric,
                 {"window 0", "not finite"});
}

TEST(Perplexity, ProgressGrowsAndStops) {
  const ModelPtr model = open_dir(kGoldenModels + "llama-tied");
  const TokenSet text = text_of(read_golden(kGoldenModels + "llama-tied"));
  double last = -1;
  int calls = 0;
  Progress watch([&](const ProgressInfo& info) {
    EXPECT_STREQ(info.phase, "evaluate");
    EXPECT_GE(info.fraction, last);
    EXPECT_LE(info.fraction, 1);
    last = info.fraction;
    ++calls;
    return true;
  });
  ASSERT_TRUE(evaluate_perplexity(*model, nullptr, text, {}, &watch).ok());
  EXPECT_GE(calls, 1);
  EXPECT_EQ(last, 1);
  Progress stop([](const ProgressInfo&) { return false; });
  EXPECT_EQ(evaluate_perplexity(*model, nullptr, text, {}, &stop).status().code(), Code::kCancelled);
}

}  // namespace
}  // namespace qz
