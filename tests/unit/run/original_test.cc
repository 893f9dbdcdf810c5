// Originals in FP8 tiles: read as plain weights, quantized, written in 16 bits where they are kept.
#include <functional>

#include "run/save.h"
#include "run/verify.h"
#include "unit/model/model_dir.h"
#include "unit/run/models.h"

namespace qz {
namespace {

class Fp8Originals : public testing::TestWithParam<const char*> {};

TEST_P(Fp8Originals, AreReadAsPlainWeights) {
  const ModelPtr model = golden(GetParam(), 2);
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->format(), FormatId::kPlain);
  size_t coded = 0;
  for (size_t i = 0; i < model->modules().size(); i++) {
    EXPECT_FALSE(model->quantized(i));
    coded += model->coded(i);
  }
  EXPECT_GT(coded, 10u);

  const TempDir dir;
  const TokenSet tokens = random_tokens(*model, 5, 40);
  const ModelPtr memory = run(
      plan_of(model, {rule("*", Method::kGptq, "w4row"), rule("*layers.1.*down_proj", Method::kKeep)}), &tokens, {});
  ASSERT_NE(memory, nullptr);
  ASSERT_TRUE(save_model(*memory, dir / "out", {}, nullptr).ok());
  const ModelPtr file = open_model(dir / "out");
  ASSERT_NE(file, nullptr);
  EXPECT_TRUE(verify_directory(*memory, dir / "out", nullptr)->ok());
  for (const TensorInfo& t : file->checkpoint()->tensors()) {
    EXPECT_NE(t.dtype, DType::kF8E4M3) << t.name;
    EXPECT_EQ(t.name.find("weight_scale_inv"), std::string::npos) << t.name;
  }
  int64_t kept = 0;
  for (size_t i = 0; i < model->modules().size(); i++) {
    const Matrix a = *memory->load_weight(i), b = *file->load_weight(i);
    kept += !file->quantized(i) && model->coded(i);
    for (int64_t j = 0; j < a.rows() * a.cols(); j++)  // kept ones are in the configuration's bfloat16
      ASSERT_NEAR(a.data()[j], b.data()[j], 4e-3f * std::fabs(a.data()[j])) << model->modules()[i].name;
  }
  EXPECT_GE(kept, 1);

  WriteOptions plain;
  plain.format = FormatId::kPlain;
  ASSERT_TRUE(save_model(*model, dir / "plain", plain, nullptr).ok());
  const ModelPtr dense = open_model(dir / "plain");
  ASSERT_NE(dense, nullptr);
  EXPECT_FALSE(dense->checkpoint()->config().contains("quantization_config"));
  EXPECT_EQ(dense->parameters(), model->parameters());
  for (size_t i = 0; i < model->modules().size(); i++) EXPECT_FALSE(dense->coded(i));
}

INSTANTIATE_TEST_SUITE_P(Models, Fp8Originals, testing::Values("deepseek-v3-fp8", "qwen3-fp8"), [](const auto& which) {
  std::string name = which.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Fp8Original, HostileFiles) {
  const std::string q = "model.layers.0.self_attn.q_proj";
  const auto expect_refused = [&](const std::function<void(ModelDir*)>& change, const std::vector<std::string>& words) {
    ModelDir files("qwen3-fp8");
    change(&files);
    Result<ModelPtr> model = Model::open(make_context(1), files.write());
    if (!model.ok()) return expect_failure(model.status(), model.status().code(), words);
    expect_failure((*model)->load_weight(static_cast<size_t>((*model)->find_module(q))).status(), Code::kBadFile,
                   words);
  };
  expect_refused([](ModelDir* m) { m->config["quantization_config"]["fmt"] = "e5m2"; }, {"fmt is \"e5m2\", expected"});
  expect_refused([](ModelDir* m) { m->config["quantization_config"]["weight_block_size"] = {128, 64}; },
                 {"weight_block_size is [128,64]", "two equal sides"});
  expect_refused([](ModelDir* m) { m->config["quantization_config"].erase("weight_block_size"); },
                 {"weight_block_size is missing"});
  expect_refused([](ModelDir* m) { m->config["quantization_config"]["weight_block_size"] = {16, 16}; },
                 {"weight_scale_inv"});
  expect_refused([&](ModelDir* m) { m->at(q + ".weight").bytes[7] = '\x7f'; }, {q, "element 7 is not a number"});
  expect_refused([&](ModelDir* m) { m->remove(q + ".weight"); }, {q + ".weight"});
  expect_refused([&](ModelDir* m) { m->remove(q + ".weight_scale_inv"); }, {q + ".weight", "F8_E4M3"});
  expect_refused(
      [&](ModelDir* m) {
        const float inf = INFINITY;
        std::memcpy(m->at(q + ".weight_scale_inv").bytes.data(), &inf, sizeof inf);
      },
      {q, "weight_scale_inv"});
}

}  // namespace
}  // namespace qz
