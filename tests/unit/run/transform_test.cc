// Transforms in whole runs: every family's block computes what it did, results are written and read back, and what
// cannot be rescaled is said.
#include "run/transform.h"
#include "method/list.h"
#include "run/options_json.h"
#include "run/places.h"
#include "run/save.h"
#include "run/verify.h"
#include "tensor/convert.h"
#include "unit/run/models.h"

namespace qz {
namespace {

const char* const kFamilies[] = {
    "bloom",      "falcon-7b-style", "falcon-40b-style", "falcon-rw",         "gpt2",      "gemma2",
    "gemma3",     "phi3-fused",      "llama-128",        "llama3-rope-gqa",   "gpt-neox",  "gpt-neox-sequential",
    "glm4",       "opt-pre-ln",      "opt-350m-style",   "mixtral",           "qwen2-moe", "qwen3-qknorm",
    "starcoder2", "deepseek-v2",     "deepseek-v3",      "qwen2-bias-2shards"};

double distance(const Matrix& a, const Matrix& b) {
  double sum = 0, size = 0;
  for (int64_t i = 0; i < a.rows() * a.cols(); i++) {
    sum += std::pow(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]), 2);
    size += std::pow(static_cast<double>(b.data()[i]), 2);
  }
  return std::sqrt(sum / size);
}

Rule rescaled(TransformKind kind, Method method, const std::string& scheme) {
  Rule r = rule("*", method, scheme);
  r.gptq.metric = 3;
  r.transform.kind = kind;
  r.transform.grid = 6;
  return r;
}

bool mentions(const RunReport& report, const std::vector<std::string>& words) {
  return std::any_of(report.events.begin(), report.events.end(), [&](const std::string& event) {
    return std::all_of(words.begin(), words.end(),
                       [&](const std::string& word) { return event.find(word) != std::string::npos; });
  });
}

class Folded : public testing::TestWithParam<const char*> {};

// Scales cancel: what a rescaled block gives is what it gave, but for the rounding of norms and biases to 16 bits.
TEST_P(Folded, ComputesWhatItDid) {
  const ModelPtr model = golden(GetParam(), 2);
  const TokenSet tokens = random_tokens(*model, 5, 40);
  for (const TransformKind kind : {TransformKind::kAwq, TransformKind::kSmoothQuant}) {
    Rule all = rescaled(kind, Method::kRtn, "w8");
    all.transform.alpha = 0.5;
    const auto plans = resolve_plan(plan_of(model, {all}), FormatId::kCompressed, true);
    ASSERT_TRUE(plans.ok()) << plans.status().text();
    auto streams = Streams::create(*model, tokens, false);
    ASSERT_TRUE(streams.ok());
    Matrix& r = streams->quantized();
    const RopeTable rope = make_rope_table(model->config(), 40);
    const Format& format = *find_format(FormatId::kCompressed);
    const TransformJob job = {*model, *model, *plans, format, rope, streams->chunks(), r};
    ASSERT_EQ(streams->chunks().size(), 1u);
    for (int64_t layer = 0; layer < model->config().layers; layer++) {
      auto block = load_block(*model, layer), folded = load_block(*model, layer);
      ASSERT_TRUE(block.ok() && folded.ok());
      const auto done = transform_block(job, &*folded, nullptr);
      ASSERT_TRUE(done.ok()) << done.status().text();
      Matrix was = r, is = r;
      const Sequences& sequences = streams->chunks()[0].sequences;
      ASSERT_TRUE(block_forward(*model, *block, rope, sequences, nullptr, was.data()).ok());
      ASSERT_TRUE(block_forward(*model, *folded, rope, sequences, nullptr, is.data()).ok());
      EXPECT_LT(distance(is, was), 4e-3) << transform_name(kind) << ", layer " << layer;
      const auto places = fold_places(*model, *plans, layer);
      const bool any = std::any_of(places.begin(), places.end(), [](const auto& p) { return p.obstacle.empty(); });
      EXPECT_FALSE(any && kind == TransformKind::kSmoothQuant && done->vectors.empty());
      r = was;
    }
  }
}

// quantize -> save -> open: the logits of the file are those of the folded, dequantized model in memory.
TEST_P(Folded, IsWrittenAndReadBack) {
  const ModelPtr model = golden(GetParam(), 2);
  const TokenSet tokens = random_tokens(*model, 5, 40);
  const TempDir dir;
  const auto& modules = model->modules();
  const bool odd = std::any_of(modules.begin(), modules.end(), [](const Module& m) { return m.cols % 16 != 0; });
  const std::string four = odd ? "w4row" : "w4g16";
  for (const Rule& all :
       {rescaled(TransformKind::kAwq, Method::kRtn, four), rescaled(TransformKind::kAwq, Method::kGptq, four),
        rescaled(TransformKind::kSmoothQuant, Method::kGptq, "w8a8"),
        rescaled(TransformKind::kSmoothQuant, Method::kRtn, "w8a8s")}) {
    const std::string path = dir / (std::string(transform_name(all.transform.kind)).append(method_name(all.method)));
    const Plan plan = plan_of(model, {all});
    const ModelPtr memory = run(plan, &tokens, {});
    ASSERT_NE(memory, nullptr);
    const std::vector<float> want = logits_of(memory);
    ASSERT_TRUE(save_model(*memory, path, {}, nullptr).ok());
    const ModelPtr file = open_model(path);
    ASSERT_NE(file, nullptr);
    EXPECT_TRUE(logits_of(file) == want);
    for (const Model* from : {memory.get(), model.get()}) {
      const auto found = verify_directory(*from, path, nullptr);
      ASSERT_TRUE(found.ok());
      EXPECT_TRUE(found->ok()) << dump_json(verification_to_json(*found));
    }
    RunOptions stream;
    stream.stream_to = path + "-streamed";
    const ModelPtr streamed = run(plan, &tokens, stream);
    ASSERT_NE(streamed, nullptr);
    EXPECT_TRUE(logits_of(streamed) == want);
    WriteOptions plain;
    plain.format = FormatId::kPlain;
    ASSERT_TRUE(save_model(*memory, path + "-plain", plain, nullptr).ok());
    EXPECT_TRUE(verify_directory(*memory, path + "-plain", nullptr)->ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Folded, testing::ValuesIn(kFamilies), [](const auto& which) {
  std::string name = which.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Transform, ChangesEveryNormAndSaysSo) {
  const ModelPtr model = golden("llama-128");
  const TokenSet tokens = random_tokens(*model, 5, 40);
  const ModelPtr made = run(plan_of(model, {rescaled(TransformKind::kAwq, Method::kRtn, "w4g32")}), &tokens, {});
  const RunReport report = report_of(*made);
  EXPECT_FALSE(report.changed.empty());
  EXPECT_EQ(report.changed.size(), made->changed_vectors().size());
  for (const ModuleReport& m : report.modules) {
    EXPECT_EQ(m.transform, TransformKind::kAwq) << m.name;
    EXPECT_GT(m.rtn_output_error, 0) << m.name;
  }
  EXPECT_TRUE(report.events.empty()) << report.events[0];
}

TEST(Transform, SaysWhatCannotBeRescaled) {
  const auto events = [](const char* name, const std::vector<Rule>& rules) {
    const ModelPtr model = golden(name);
    const TokenSet tokens = random_tokens(*model, 5, 40);
    const ModelPtr made = run(plan_of(model, rules), &tokens, {});
    return made ? report_of(*made) : RunReport();
  };
  const Rule awq = rescaled(TransformKind::kAwq, Method::kRtn, "w4row");
  EXPECT_TRUE(mentions(events("bloom", {awq}), {"awq", "down", "activation"}));
  EXPECT_TRUE(mentions(events("opt-350m-style", {awq}), {"q, k, v", "norm follows the addition"}));
  EXPECT_TRUE(mentions(events("mixtral", {awq}), {"gate, up", "router", "layers"}));
  EXPECT_TRUE(mentions(events("bloom-residual-normed", {awq}), {"qkv", "normed stream"}));
  EXPECT_TRUE(mentions(events("llama-128", {awq, rule("*.k_proj", Method::kKeep)}), {"q, k, v", "k", "is kept"}));
  EXPECT_TRUE(
      mentions(events("llama-128", {awq, rule("*.up_proj", Method::kRtn)}), {"gate, up", "not to be rescaled"}));
  EXPECT_TRUE(mentions(events("llama-128", {awq, rule("*.v_proj", Method::kKeep)}), {"inputs of o", "v, which makes"}));
}

TEST(Transform, NeedsTokens) {
  const ModelPtr model = golden("llama-128");
  const Rule awq = rescaled(TransformKind::kAwq, Method::kRtn, "w4g32");
  expect_failure(run_plan(plan_of(model, {awq}), nullptr, {}).status(), Code::kInvalidArgument,
                 {"q_proj", "rescaled by awq", "no calibration tokens"});
  expect_failure(run_plan(plan_of(model, {rule("*", Method::kRtn, "w8a8s")}), nullptr, {}).status(),
                 Code::kInvalidArgument, {"q_proj", "scale that is stored", "no calibration tokens"});
}

TEST(Transform, StaticInputsHaveTheMeasuredScale) {
  const ModelPtr model = golden("llama-128");
  const TokenSet tokens = random_tokens(*model, 5, 40);
  const ModelPtr made = run(plan_of(model, {rule("*", Method::kRtn, "w8a8s")}), &tokens, {});
  ASSERT_NE(made, nullptr);
  auto block = load_block(*model, 0);
  auto ends = Ends::load(*model);
  ASSERT_TRUE(block.ok() && ends.ok());
  float most = 0;
  for (const auto& ids : tokens.sequences) {
    Sequences s;
    s.start = {0, 40};
    Matrix r(40, model->config().hidden), x(40, model->config().hidden);
    ASSERT_TRUE(ends->embed(*model, s, ids.data(), r.data()).ok());
    ASSERT_TRUE(attention_input(*model, *block, r.view(), x.data()).ok());
    for (int64_t i = 0; i < x.rows() * x.cols(); i++) most = std::max(most, std::fabs(x.data()[i]));
  }
  for (size_t i = 0; i < 3; i++) {
    const auto q = *made->load_matrix(i);
    EXPECT_EQ(q->input_scale, round_to(most / 127.5f, q->scheme.scale)) << made->modules()[i].name;
  }
  for (size_t i = 0; i < made->modules().size(); i++) {
    if (!made->quantized(i)) continue;
    EXPECT_GT((*made->load_matrix(i))->input_scale, 0) << made->modules()[i].name;
  }
}

TEST(Transform, IsTheSameForAnyNumberOfThreadsAndCanBeCancelled) {
  std::map<std::string, std::string> first;
  for (const int32_t threads : {1, 2, 3}) {
    const ModelPtr model = golden("llama-128", threads);
    const TokenSet tokens = random_tokens(*model, 5, 40);
    const ModelPtr made = run(plan_of(model, {rescaled(TransformKind::kAwq, Method::kRtn, "w4g32a")}), &tokens, {});
    const auto hashes = matrix_hashes(*made);
    if (first.empty()) first = hashes;
    EXPECT_EQ(hashes, first) << threads;
  }
  const ModelPtr model = golden("llama-128");
  const TokenSet tokens = random_tokens(*model, 5, 40);
  int calls = 0;
  Progress progress([&](const ProgressInfo& info) { return info.phase != std::string("scale") || ++calls < 2; });
  RunOptions options;
  options.progress = &progress;
  const TempDir dir;
  options.stream_to = dir / "out";
  const Plan plan = plan_of(model, {rescaled(TransformKind::kAwq, Method::kRtn, "w4g32")});
  expect_failure(run_plan(plan, &tokens, options).status(), Code::kCancelled, {});
  EXPECT_TRUE(names_in(dir.path()).empty());
}

TEST(Transform, TravelsInJson) {
  const ModelPtr model = golden("llama-128");
  const std::string text =
      R"({"rules": [{"glob": "*", "method": "gptq", "transform": "awq", "awq": {"grid": 7, "clip": false}},
                    {"glob": "*.o_proj", "transform": "smoothquant", "smoothquant": {"alpha": 0.7}, "scheme": "w8a8"}]})";
  auto plan = Plan::from_json(model, text);
  ASSERT_TRUE(plan.ok()) << plan.status().text();
  EXPECT_EQ(plan->rules()[0].transform.grid, 7);
  EXPECT_FALSE(plan->rules()[0].transform.clip);
  EXPECT_EQ(plan->rules()[1].transform.alpha, 0.7);
  auto again = Plan::from_json(model, dump_json(plan->to_json()));
  ASSERT_TRUE(again.ok()) << again.status().text();
  EXPECT_EQ(again->rules()[1].transform, plan->rules()[1].transform);
  for (const auto& [bad, words] : std::map<std::string, std::vector<std::string>>{
           {R"("transform": "rotate")", {"rotate", "awq", "smoothquant"}},
           {R"("awq": {"grid": 0})", {"awq.grid", "1 to 1000"}},
           {R"("awq": {"alpha": 1})", {"awq.alpha", "not known"}},
           {R"("smoothquant": {"alpha": 2})", {"smoothquant.alpha", "0 to 1"}}})
    expect_failure(Plan::from_json(model, R"({"rules": [{"glob": "*", )" + bad + "}]}").status(),
                   Code::kInvalidArgument, words);
}

}  // namespace
}  // namespace qz
