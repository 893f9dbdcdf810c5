// Whole texts: greedy continuation, ends, and calibration text that depends on its seed and number alone.
#include <gtest/gtest.h>

#include "eval/generate.h"
#include "unit/model/model_dir.h"

namespace qz {
namespace {

std::vector<int32_t> greedy(Session* session, const std::vector<int32_t>& prompt, int64_t n) {
  std::vector<int32_t> out;
  const Status status =
      generate(session, prompt, n, {.greedy = true}, [&](int32_t id) { return out.push_back(id), true; });
  EXPECT_TRUE(status.ok()) << status.text();
  return out;
}

TEST(Generate, GreedyContinuesThePrefill) {
  const ModelPtr model = *Model::open(make_context(1), kGoldenModels + "llama3-rope-gqa");
  const auto session = Session::create(model, 0);
  const std::vector<int32_t> out = greedy(session->get(), {5, 6, 7}, 12);
  ASSERT_EQ(out.size(), 12u);
  std::vector<int32_t> all = {5, 6, 7};
  for (int32_t id : out) {  // each token is the most likely one after all before it, fed at once
    (*session)->reset();
    std::vector<float> logits(288);
    ASSERT_TRUE((*session)->step(all.data(), static_cast<int64_t>(all.size()), false, logits.data()).ok());
    EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
    all.push_back(id);
  }
}

TEST(Generate, Ends) {
  ModelDir dir("llama3-rope-gqa");
  dir.config["eos_token_id"] = nullptr;
  auto session = Session::create(*dir.open(), 10);
  const std::vector<int32_t> free = greedy(session->get(), {5, 6, 7}, 100);
  EXPECT_EQ(free.size(), 8u);  // positions 3 … 9 are fed, the last token is not
  dir.config["eos_token_id"] = free[4];
  session = Session::create(*dir.open(), 10);
  const std::vector<int32_t> ended = greedy(session->get(), {5, 6, 7}, 100);
  EXPECT_LE(ended.size(), 5u);
  EXPECT_EQ(ended.back(), free[4]);
  int calls = 0;
  (*session)->reset();
  ASSERT_TRUE(generate(session->get(), {5}, 100, {}, [&](int32_t) { return ++calls < 3; }).ok());
  EXPECT_LE(calls, 3);
  (*session)->reset();
  EXPECT_EQ(greedy(session->get(), {5, 6, 7}, 0).size(), 0u);
}

TEST(Generate, Refused) {
  const ModelPtr model = *Model::open(make_context(1), kGoldenModels + "llama-tied");
  const auto session = Session::create(model, 4);
  const auto fn = [](int32_t) { return true; };
  EXPECT_EQ(generate(session->get(), {}, 5, {}, fn).code(), Code::kInvalidArgument);
  EXPECT_EQ(generate(session->get(), {1, 2, 3, 4, 5}, 5, {}, fn).code(), Code::kInvalidArgument);
  for (const SampleOptions& bad : {SampleOptions{.temperature = 0}, SampleOptions{.top_p = -1},
                                   SampleOptions{.repetition_penalty = 0}, SampleOptions{.top_k = -1}}) {
    EXPECT_EQ(generate(session->get(), {1}, 5, bad, fn).code(), Code::kInvalidArgument);
  }
  EXPECT_EQ((*session)->position(), 0);
}

TEST(Generate, SeedsMatter) {
  const ModelPtr model = *Model::open(make_context(1), kGoldenModels + "llama-tied");
  std::vector<std::vector<int32_t>> texts;
  for (uint64_t seed : {1u, 1u, 2u}) {
    const auto session = Session::create(model, 0);
    texts.emplace_back();
    const auto keep = [&](int32_t id) { return texts.back().push_back(id), true; };
    ASSERT_TRUE(generate(session->get(), {3}, 20, {.seed = seed}, keep).ok());
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_NE(texts[0], texts[2]);
}

TEST(WriteItself, SequencesStandAlone) {
  const ModelPtr model = *Model::open(make_context(2), kGoldenModels + "qwen2-128");
  const auto few = write_itself(model, 3, 20, 7, nullptr), many = write_itself(model, 70, 20, 7, nullptr);
  ASSERT_TRUE(few.ok() && many.ok());
  ASSERT_EQ(many->sequences.size(), 70u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(few->sequences[i], many->sequences[i]);
  for (const auto& s : many->sequences) {
    ASSERT_EQ(s.size(), 20u);
    EXPECT_EQ(s[0], 0);  // the model's beginning of text
    for (int32_t id : s) EXPECT_TRUE(id >= 0 && id < 256);
  }
  EXPECT_NE(many->sequences[0], many->sequences[64]);
  const ModelPtr alone = *Model::open(make_context(1), kGoldenModels + "qwen2-128");
  EXPECT_EQ(write_itself(alone, 3, 20, 7, nullptr)->sequences, few->sequences);
  EXPECT_NE(write_itself(alone, 3, 20, 8, nullptr)->sequences, few->sequences);
}

// The second token follows the model's own distribution after the first.
TEST(WriteItself, FollowsTheModel) {
  const ModelPtr model = *Model::open(make_context(2), kGoldenModels + "llama-tied");
  const int64_t n = 4000;
  const auto texts = write_itself(model, n, 2, 1, nullptr);
  ASSERT_TRUE(texts.ok());
  std::vector<float> logits(256);
  const int32_t bos = 0;
  ASSERT_TRUE((*Session::create(model, 0))->step(&bos, 1, false, logits.data()).ok());
  std::vector<double> expected(256), seen(256);
  double sum = 0;
  for (size_t v = 0; v < 256; ++v) sum += expected[v] = std::exp(static_cast<double>(logits[v]));
  for (const auto& s : texts->sequences) seen[static_cast<size_t>(s[1])] += 1;
  double chi = 0;
  for (size_t v = 0; v < 256; ++v) {
    const double e = expected[v] / sum * static_cast<double>(n);
    chi += (seen[v] - e) * (seen[v] - e) / e;
  }
  EXPECT_LT(chi, 255 + 6 * std::sqrt(2 * 255.0));  // chi-squared with 255 degrees of freedom: mean 255, sd 22.6
}

TEST(WriteItself, WithoutABeginning) {
  ModelDir dir("llama-tied");
  dir.config.erase("bos_token_id");
  const auto texts = write_itself(*dir.open(), 50, 2, 1, nullptr);
  ASSERT_TRUE(texts.ok());
  std::vector<int32_t> firsts;
  for (const auto& s : texts->sequences) firsts.push_back(s[0]);
  std::sort(firsts.begin(), firsts.end());
  EXPECT_GT(std::unique(firsts.begin(), firsts.end()) - firsts.begin(), 30);
}

TEST(WriteItself, Refused) {
  const ModelPtr model = *Model::open(make_context(1), kGoldenModels + "llama-tied");
  expect_failure(write_itself(model, 0, 5, 0, nullptr), Code::kInvalidArgument, {"sequences"});
  expect_failure(write_itself(model, 1, 65, 0, nullptr), Code::kInvalidArgument, {"length from 1 to 64", "65"});
}

}  // namespace
}  // namespace qz
