#include "run/verify.h"

#include "unit/run/models.h"

namespace qz {
namespace {

// A model quantized into a directory, and held in memory.
class Verify : public testing::Test {
 protected:
  void SetUp() override {
    source_ = golden("llama-128", 2);
    const Plan plan = plan_of(source_, {rule("*", Method::kRtn, "w4g32"), rule("*.1.mlp.up_proj", Method::kKeep)});
    RunOptions options;
    options.stream_to = out();
    ASSERT_NE(run(plan, nullptr, options), nullptr);
    held_ = run(plan, nullptr, {});
  }
  std::string out() const { return dir_ / "out"; }
  Verification verify(const ModelPtr& model) const {
    auto v = verify_directory(*model, out(), nullptr);
    EXPECT_TRUE(v.ok()) << v.status().text();
    return v.ok() ? *v : Verification();
  }
  // Finds an error whose words contain all of these.
  static void expect_finding(const Verification& v, const std::vector<std::string>& words) {
    EXPECT_FALSE(v.ok());
    for (const Finding& f : v.findings) {
      const std::string all = f.file + " " + f.tensor + " " + f.text;
      if (f.severity == "error" && std::all_of(words.begin(), words.end(),
                                               [&](const std::string& w) { return all.find(w) != std::string::npos; }))
        return;
    }
    ADD_FAILURE() << "no finding with '" << words[0] << "' in " << dump_json(verification_to_json(v));
  }
  void edit_report(const std::function<void(Json&)>& edit) const {
    Json report = Json::parse(slurp(out() + "/qz_report.json"));
    edit(report);
    std::ofstream(out() + "/qz_report.json") << report.dump();
  }
  void drop_report() const { std::filesystem::remove(out() + "/qz_report.json"); }

  TempDir dir_;
  ModelPtr source_, held_;
};

TEST_F(Verify, WhatWasWrittenIsProved) {
  for (const ModelPtr& model : {held_, source_}) {
    const Verification v = verify(model);
    EXPECT_TRUE(v.ok()) << dump_json(verification_to_json(v));
    EXPECT_TRUE(v.findings.empty());
    EXPECT_EQ(v.files, 1);
    EXPECT_EQ(v.modules, 13);
    EXPECT_EQ(v.tensors, 2 * 2 + 1 + 2 + 1);  // norms, last norm, embedding and head, the kept module
  }
  const Json json = verification_to_json(verify(held_));
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["checked"]["modules"], 13);
  drop_report();
  const Verification bare = verify(held_);  // by value alone
  EXPECT_TRUE(bare.ok());
  ASSERT_EQ(bare.findings.size(), 1u);
  EXPECT_EQ(bare.findings[0].severity, "warning");
}

TEST_F(Verify, AFlippedBitInACode) {
  flip_bit(out(), "model.layers.1.mlp.down_proj.weight_packed", 1000);
  for (const ModelPtr& model : {held_, source_}) {
    expect_finding(verify(model), {"model.safetensors", "SHA-256"});
    expect_finding(verify(model), {"model.layers.1.mlp.down_proj", "solved"});
  }
  expect_finding(verify(held_), {"model.layers.1.mlp.down_proj", "the model's"});
  drop_report();
  expect_finding(verify(held_), {"model.layers.1.mlp.down_proj", "the model's"});
}

TEST_F(Verify, AFlippedBitInAScale) {
  flip_bit(out(), "model.layers.0.self_attn.k_proj.weight_scale", 64);
  drop_report();
  expect_finding(verify(held_), {"model.layers.0.self_attn.k_proj"});
}

TEST_F(Verify, AChangedNormOrKeptModule) {
  for (const char* tensor : {"model.layers.0.input_layernorm.weight", "model.layers.1.mlp.up_proj.weight",
                             "lm_head.weight", "model.embed_tokens.weight"}) {
    flip_bit(out(), tensor);
    expect_finding(verify(held_), {tensor, "differs from the source"});
    expect_finding(verify(source_), {"model.safetensors", "SHA-256"});
    flip_bit(out(), tensor);
    EXPECT_TRUE(verify(held_).ok());
  }
  drop_report();
  flip_bit(out(), "model.norm.weight");
  expect_finding(verify(source_), {"model.norm.weight", "differs from the source"});
}

TEST_F(Verify, AMissingFile) {
  std::filesystem::remove(out() + "/model.safetensors");
  expect_finding(verify(held_), {"model.safetensors"});
  std::filesystem::remove_all(out());
  expect_finding(verify(held_), {"out"});
}

TEST_F(Verify, AFileThatTheReportHasAndTheDirectoryHasNot) {
  edit_report([](Json& r) { r["files"].push_back({{"file", "model-2.safetensors"}, {"sha256", "00"}}); });
  expect_finding(verify(held_), {"model-2.safetensors", "not in the directory"});
}

TEST_F(Verify, WrongHashesInTheReport) {
  const std::string right = slurp(out() + "/qz_report.json");
  edit_report([](Json& r) { r["files"][0]["sha256"] = std::string(64, '0'); });
  expect_finding(verify(held_), {"model.safetensors", "SHA-256"});
  std::ofstream(out() + "/qz_report.json") << right;
  edit_report([](Json& r) { r["modules"][3]["sha256"] = std::string(64, '0'); });
  expect_finding(verify(held_), {"self_attn.o_proj", "solved"});
}

TEST_F(Verify, ReportsThatAreNone) {
  for (const char* text : {"{}", "[]", R"({"modules": [7]})", R"({"modules": [], "files": 5})",
                           R"({"modules": [], "files": [1, "x", {"file": 3}, {}, {"file": "model.safetensors"}]})"}) {
    std::ofstream(out() + "/qz_report.json") << text;
    const Verification v = verify(held_);
    EXPECT_FALSE(v.ok()) << text;
    for (const Finding& f : v.findings) EXPECT_FALSE(f.text.empty());
  }
}

TEST_F(Verify, AnotherModel) {
  const Plan other = plan_of(source_, {rule("*", Method::kRtn, "w4g64")});
  expect_finding(verify(run(other, nullptr, {})), {"model.layers.0.self_attn.q_proj", "the model's"});
  expect_finding(verify(golden("llama-tied")), {"shape"});
}

// A tensor that the source has and the directory lost.
TEST_F(Verify, ALostTensor) {
  const TempDir dir;
  const ModelPtr qwen = golden("qwen2-128", 2);  // q, k and v have biases
  RunOptions options;
  options.stream_to = dir / "out";
  ASSERT_NE(run(plan_of(qwen, {rule("*", Method::kRtn)}), nullptr, options), nullptr);
  EXPECT_TRUE(verify_directory(*qwen, dir / "out", nullptr)->ok());
  const std::string lost = "model.layers.0.self_attn.q_proj.bias";
  std::string data = slurp(dir / "out/model.safetensors");
  const size_t at = data.find(lost);
  ASSERT_NE(at, std::string::npos);
  data.replace(at, lost.size(), "model.layers.0.self_attn.q_proj.bia_");
  std::ofstream(dir / "out/model.safetensors", std::ios::binary) << data;
  std::filesystem::remove(dir / "out/qz_report.json");
  const auto v = verify_directory(*qwen, dir / "out", nullptr);
  ASSERT_TRUE(v.ok());
  expect_finding(*v, {lost});
}

TEST_F(Verify, Cancelled) {
  Progress progress([](const ProgressInfo&) { return false; });
  EXPECT_EQ(verify_directory(*held_, out(), &progress).status().code(), Code::kCancelled);
}

}  // namespace
}  // namespace qz
