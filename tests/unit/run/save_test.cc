#include "run/save.h"

#include "run/verify.h"
#include "unit/run/models.h"

namespace qz {
namespace {

WriteOptions to(FormatId format) {
  WriteOptions o;
  o.format = format;
  return o;
}

Status save(const Model& model, const std::string& dir, FormatId format) {
  return save_model(model, dir, to(format), nullptr);
}

TEST(Save, CodesMoveBetweenFormatsAndBack) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 4, 24);
  const TempDir dir;
  RunOptions options;
  options.format = FormatId::kGptq;
  options.stream_to = dir / "gptq";
  const Plan plan = plan_of(model, {rule("*", Method::kGptq, "w4g32"), rule("*.1.mlp.*", Method::kRtn, "w8"),
                                    rule("*.0.mlp.up_proj", Method::kKeep)});
  const ModelPtr gptq = run(plan, &tokens, options);
  ASSERT_NE(gptq, nullptr);
  ASSERT_TRUE(save(*gptq, dir / "ct", FormatId::kCompressed).ok());
  const ModelPtr ct = open_model(dir / "ct");
  EXPECT_EQ(ct->format(), FormatId::kCompressed);
  EXPECT_EQ(matrix_hashes(*ct), matrix_hashes(*gptq));
  EXPECT_TRUE(logits_of(ct) == logits_of(gptq));
  EXPECT_EQ(report_of(*ct).format, "compressed-tensors");
  const auto verified = verify_directory(*gptq, dir / "ct", nullptr);
  EXPECT_TRUE(verified->ok()) << dump_json(verification_to_json(*verified));
  // And back: the file as it was.
  ASSERT_TRUE(save(*ct, dir / "back", FormatId::kGptq).ok());
  EXPECT_TRUE(slurp(dir / "back/model.safetensors") == slurp(dir / "gptq/model.safetensors"));
  EXPECT_EQ(report_of(*open_model(dir / "back")).format, "gptq");
  // In its own format: a copy.
  ASSERT_TRUE(save(*gptq, dir / "same", FormatId::kDefault).ok());
  EXPECT_EQ(files_of(dir / "same"), files_of(dir / "gptq"));
}

TEST(Save, PlainHasTheDequantizedWeights) {
  const ModelPtr model = golden("llama-128", 2);
  const TempDir dir;
  const ModelPtr q = run(plan_of(model, {rule("*", Method::kRtn, "w8g32")}), nullptr, {});
  ASSERT_TRUE(save(*q, dir / "plain", FormatId::kPlain).ok());
  const ModelPtr plain = open_model(dir / "plain");
  EXPECT_EQ(plain->format(), FormatId::kPlain);
  EXPECT_EQ(plain->report(), nullptr);
  EXPECT_TRUE(verify_directory(*q, dir / "plain", nullptr)->ok());
  EXPECT_FALSE(plain->checkpoint()->config().contains("quantization_config"));
  for (size_t i = 0; i < model->modules().size(); i++) {
    const Matrix have = *plain->load_weight(i), want = *q->load_weight(i);
    for (int64_t j = 0; j < want.rows() * want.cols(); j++)
      ASSERT_NEAR(have.data()[j], want.data()[j], 1e-3f * std::fabs(want.data()[j]));  // F16
  }
  std::vector<std::string> source, written;
  for (const TensorInfo& t : model->checkpoint()->tensors()) source.push_back(t.name);
  for (const TensorInfo& t : plain->checkpoint()->tensors()) written.push_back(t.name);
  std::sort(source.begin(), source.end());
  std::sort(written.begin(), written.end());
  EXPECT_EQ(written, source);
  flip_bit(dir / "plain", "model.layers.1.mlp.up_proj.weight");
  const auto v = verify_directory(*q, dir / "plain", nullptr);
  ASSERT_EQ(v->findings.size(), 1u);
  EXPECT_EQ(v->findings[0].tensor, "model.layers.1.mlp.up_proj");
}

TEST(Save, PlainForgetsHowTheSourceWasQuantized) {
  const TempDir dir;
  for (const FormatId format : {FormatId::kGptq, FormatId::kCompressed}) {
    RunOptions options;
    options.format = format;
    options.stream_to = dir / numbered("q", static_cast<int>(format));
    const ModelPtr q = run(plan_of(golden("llama-128", 2), {rule("*", Method::kRtn)}), nullptr, options);
    const std::string out = dir / numbered("plain", static_cast<int>(format));
    ASSERT_TRUE(save(*q, out, FormatId::kPlain).ok());
    EXPECT_EQ(names_in(out), names_in(kGoldenModels + "llama-128"));
    const ModelPtr plain = open_model(out);
    EXPECT_FALSE(plain->checkpoint()->config().contains("quantization_config"));
    EXPECT_EQ(plain->checkpoint()->tensors().size(), golden("llama-128")->checkpoint()->tensors().size());
  }
}

TEST(Save, TheModelWithoutCodesIsCopied) {
  const TempDir dir;
  const ModelPtr model = golden("llama-tied");
  ASSERT_TRUE(save(*model, dir / "copy", FormatId::kPlain).ok());
  EXPECT_TRUE(logits_of(open_model(dir / "copy")) == logits_of(model));
  ASSERT_TRUE(save(*model, dir / "default", FormatId::kDefault).ok());
  expect_failure(save(*model, dir / "no", FormatId::kGptq), Code::kInvalidArgument,
                 {"nothing in this model is quantized"});
  EXPECT_FALSE(exists(dir / "no"));
}

TEST(Save, WhatTheTargetCannotHoldIsRefused) {
  const TempDir dir;
  const ModelPtr llama = golden("llama-128", 2);
  const ModelPtr three = run(plan_of(llama, {rule("*", Method::kRtn, "w3g32")}), nullptr, {});
  expect_failure(save(*three, dir / "no", FormatId::kAwq), Code::kUnsupported,
                 {"awq cannot store", "model.layers.0.self_attn.q_proj", "and 10 more"});
  Rule wide = rule("*", Method::kRtn, "w4g32");
  wide.scheme.scale = DType::kF32;
  const ModelPtr f32 = run(plan_of(llama, {wide}), nullptr, {});
  expect_failure(save(*f32, dir / "no", FormatId::kGptq), Code::kUnsupported, {"scale", "not exact", "F16"});
  expect_failure(save(*f32, dir / "no", static_cast<FormatId>(55)), Code::kInvalidArgument, {"55"});
  EXPECT_EQ(names_in(dir.path()), std::vector<std::string>());
}

TEST(Save, CancelledLeavesNothing) {
  const TempDir dir;
  const ModelPtr q = run(plan_of(golden("llama-tied"), {rule("*", Method::kRtn)}), nullptr, {});
  Progress progress([](const ProgressInfo&) { return false; });
  expect_failure(save_model(*q, dir / "out", {}, &progress), Code::kCancelled, {});
  EXPECT_EQ(names_in(dir.path()), std::vector<std::string>());
}

TEST(Save, SideFilesComeAlong) {
  const TempDir dir;
  std::filesystem::copy(kGoldenModels + "llama-tied", dir / "in");
  dir.write("in/tokenizer.json", "{\"a\": 1}");
  dir.write("in/LICENSE", "mine");
  dir.write("in/pytorch_model.bin", "no");
  const ModelPtr model = open_model(dir / "in");
  RunOptions options;
  options.stream_to = dir / "out";
  ASSERT_NE(run(plan_of(model, {rule("*", Method::kRtn)}), nullptr, options), nullptr);
  EXPECT_EQ(slurp(dir / "out/tokenizer.json"), "{\"a\": 1}");
  EXPECT_EQ(slurp(dir / "out/LICENSE"), "mine");
  EXPECT_TRUE(exists(dir / "out/generation_config.json"));
  EXPECT_FALSE(exists(dir / "out/pytorch_model.bin"));
}

}  // namespace
}  // namespace qz
