// Encoders through the whole job: quantized, written, read back, and judged by how far their outputs agree.
#include "eval/perplexity.h"
#include "method/list.h"
#include "run/options_json.h"
#include "run/save.h"
#include "run/verify.h"
#include "unit/run/models.h"

namespace qz {
namespace {

// The outputs for one text; of a classifier one row.
std::vector<float> outputs_of(const ModelPtr& model, const std::vector<int32_t>& ids) {
  const auto n = static_cast<int64_t>(ids.size());
  std::vector<float> out(static_cast<size_t>((model->config().pooled ? 1 : n) * model->config().outputs));
  auto session = Session::create(model, n);
  EXPECT_TRUE(session.ok()) << session.status().text();
  if (!session.ok()) return {};
  const Status status = (*session)->step(ids.data(), n, true, out.data());
  EXPECT_TRUE(status.ok()) << status.text();
  return out;
}

class Encoders : public testing::TestWithParam<const char*> {};

TEST_P(Encoders, AreWrittenAndReadBack) {
  const ModelPtr model = golden(GetParam(), 2);
  ASSERT_NE(model, nullptr);
  const TokenSet tokens = random_tokens(*model, 40, 40), text = random_tokens(*model, 30, 20, 5);
  const TempDir dir;
  double kl[2] = {};
  for (const Method method : {Method::kRtn, Method::kGptq}) {
    const ModelPtr memory = run(plan_of(model, {rule("*", method, "w4g16")}), &tokens, {});
    ASSERT_NE(memory, nullptr);
    for (const FormatId format : {FormatId::kCompressed, FormatId::kPlain}) {
      WriteOptions write;
      write.format = format;
      const std::string path = dir / (std::string(method_name(method)) + std::to_string(static_cast<int>(format)));
      ASSERT_TRUE(save_model(*memory, path, write, nullptr).ok());
      const ModelPtr file = open_model(path);
      ASSERT_NE(file, nullptr);
      const std::vector<float> a = outputs_of(file, text.sequences[0]), b = outputs_of(memory, text.sequences[0]);
      ASSERT_EQ(a.size(), b.size());
      if (format == FormatId::kPlain) {  // the checkpoint is float32: nothing is rounded
        for (size_t i = 0; i < a.size(); i++) ASSERT_NEAR(a[i], b[i], 1e-4f);
        continue;
      }
      EXPECT_TRUE(a == b);
      EXPECT_TRUE(verify_directory(*memory, path, nullptr)->ok());
      const auto judged = evaluate_perplexity(*file, model.get(), text, {}, nullptr);
      ASSERT_TRUE(judged.ok()) << judged.status().text();
      EXPECT_TRUE(std::isnan(judged->perplexity));
      EXPECT_EQ(judged->protocol, "texts");
      EXPECT_EQ(judged->tokens, model->config().pooled ? 30 : 600);
      EXPECT_GT(judged->top1, 0.3);
      kl[method == Method::kGptq] = judged->kl;
    }
  }
  EXPECT_GT(kl[0], 0);
  EXPECT_LT(kl[1], kl[0]);  // GPTQ's outputs are nearer than those of rounding
  const auto same = evaluate_perplexity(*model, model.get(), text, {}, nullptr);
  EXPECT_EQ(same->kl, 0);
  EXPECT_EQ(same->top1, 1);
}

INSTANTIATE_TEST_SUITE_P(Models, Encoders, testing::Values("bert", "roberta", "bert-classifier", "roberta-classifier"),
                         [](const auto& which) {
                           std::string name = which.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Encoder, SeesTheWholeText) {
  const ModelPtr model = golden("bert");
  ASSERT_NE(model, nullptr);
  std::vector<int32_t> ids = random_tokens(*model, 1, 12).sequences[0];
  const std::vector<float> before = outputs_of(model, ids);
  ids.back() ^= 1;
  const std::vector<float> after = outputs_of(model, ids);
  EXPECT_NE(before[0], after[0]);  // the first token's output knows the last token
}

TEST(Encoder, RefusesWhatItCannotDo) {
  const ModelPtr bert = golden("bert"), classifier = golden("bert-classifier"), llama = golden("llama-tied");
  const std::vector<int32_t> ids = {5, 6, 7, 8};
  auto session = Session::create(bert, 16);
  ASSERT_TRUE(session.ok());
  ASSERT_TRUE((*session)->step(ids.data(), 4, true, std::vector<float>(4 * 256).data()).ok());
  expect_failure((*session)->step(ids.data(), 4, false, nullptr), Code::kInvalidArgument, {"in one step", "4 tokens"});
  (*session)->reset();
  EXPECT_TRUE((*session)->step(ids.data(), 4, false, nullptr).ok());
  TokenSet text;
  text.sequences = {ids};
  expect_failure(evaluate_perplexity(*bert, nullptr, text, {}, nullptr).status(), Code::kInvalidArgument,
                 {"no perplexity"});
  expect_failure(evaluate_perplexity(*classifier, golden("roberta-classifier").get(), text, {}, nullptr).status(),
                 Code::kInvalidArgument, {"do not answer alike"});
  expect_failure(run_plan(plan_of(classifier, {rule("classifier", Method::kGptq, "w4g16")}), &text, {}).status(),
                 Code::kUnsupported, {"'classifier' is outside the blocks"});
  const ModelPtr pooled =
      run(plan_of(classifier, {rule("*", Method::kRtn, "w8row"), rule("bert.pooler.*", Method::kRtn, "w8row")}),
          nullptr, {});
  ASSERT_NE(pooled, nullptr);
  EXPECT_TRUE(pooled->quantized(static_cast<size_t>(pooled->find_module("bert.pooler.dense"))));
  EXPECT_FALSE(pooled->quantized(static_cast<size_t>(pooled->find_module("classifier"))));
  EXPECT_NE(outputs_of(pooled, ids), outputs_of(classifier, ids));
}

}  // namespace
}  // namespace qz
