#include "run/pipeline.h"

#include "run/save.h"
#include "run/verify.h"
#include "unit/run/models.h"

namespace qz {
namespace {

struct Subject {
  const char* model;
  const char* scheme;  // what all of its matrices can be stored in
};
const Subject kSubjects[] = {{"llama-128", "w4g32"},        {"opt-pre-ln", "w4g32"}, {"opt-350m-style", "w3g16"},
                             {"mistral-sliding", "w4g64a"}, {"qwen3-qknorm", "w4"},  {"llama-tied", "w2g32"}};

RunOptions streamed(const std::string& dir, FormatId format = FormatId::kCompressed) {
  RunOptions o;
  o.format = format;
  o.stream_to = dir;
  return o;
}

class Run : public testing::TestWithParam<Subject> {};

TEST_P(Run, ThreadsDoNotChangeAByteAndMemoryHoldsTheSame) {
  const TempDir dir;
  const TokenSet tokens = random_tokens(*golden(GetParam().model), 5, 24);
  std::map<std::string, std::string> first;
  for (const int32_t threads : {1, 2, 3, 8}) {
    const ModelPtr model = golden(GetParam().model, threads);
    const Plan plan = plan_of(model, {rule("*", Method::kGptq, GetParam().scheme)});
    const std::string out = dir / numbered("threads", threads);
    ASSERT_NE(run(plan, &tokens, streamed(out)), nullptr);
    if (first.empty()) first = files_of(out);
    EXPECT_EQ(files_of(out), first) << threads;
  }
  // Without streaming: the same matrices, the same logits, and, saved, the same file.
  const ModelPtr opened = open_model(dir / "threads1");
  const ModelPtr held =
      run(plan_of(golden(GetParam().model, 2), {rule("*", Method::kGptq, GetParam().scheme)}), &tokens, {});
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(matrix_hashes(*held), matrix_hashes(*opened));
  EXPECT_EQ(matrix_hashes(*held).size(), held->modules().size() - 1);
  EXPECT_TRUE(logits_of(held) == logits_of(opened));
  ASSERT_TRUE(save_model(*held, dir / "saved", {}, nullptr).ok());
  EXPECT_EQ(files_of(dir / "saved"), first);
  // The report's hashes are those of the matrices, and the directory is what it says.
  for (const ModuleReport& m : report_of(*opened).modules) {
    EXPECT_EQ(matrix_hashes(*opened)[m.name], m.sha256);
    EXPECT_GT(m.output_error, 0) << m.name;
    EXPECT_GT(m.weight_error, 0) << m.name;
    EXPECT_LT(m.bytes_after, m.bytes_before);
  }
  const auto verified = verify_directory(*held, dir / "threads1", nullptr);
  ASSERT_TRUE(verified.ok());
  EXPECT_TRUE(verified->ok()) << dump_json(verification_to_json(*verified));
}

INSTANTIATE_TEST_SUITE_P(Models, Run, testing::ValuesIn(kSubjects), [](const auto& which) {
  std::string name = which.param.model;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Runs, GptqMakesLogitsBetterThanRtn) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 24, 64, 7);
  const std::vector<float> want = logits_of(model, 64);
  auto distance = [&](Method method) {
    const std::vector<float> have = logits_of(run(plan_of(model, {rule("*", method, "w3g64")}), &tokens, {}), 64);
    double sum = 0;
    for (size_t i = 0; i < want.size(); i++)
      sum += static_cast<double>(have[i] - want[i]) * static_cast<double>(have[i] - want[i]);
    return sum;
  };
  EXPECT_LT(distance(Method::kGptq), 0.7 * distance(Method::kRtn));
}

TEST(Runs, EveryFormatGivesTheSameCodesBack) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 4, 24);
  const TempDir dir;
  struct Row {
    FormatId format;
    const char* scheme;
  };
  for (const Row& row : {Row{FormatId::kGptq, "w4g32"},
                         {FormatId::kGptq, "w3g64"},
                         {FormatId::kGptq, "w2g16"},
                         {FormatId::kGptq, "w8"},
                         {FormatId::kGptqV2, "w4g32a"},
                         {FormatId::kGptq, "w4g32a"},
                         {FormatId::kGptqPlanar, "w3g32"},
                         {FormatId::kCompressed, "w3g64a"},
                         {FormatId::kCompressed, "w8tensor"},
                         {FormatId::kCompressed, "w2g16a"}}) {
    RunOptions memory;
    memory.format = row.format;
    const Plan plan = plan_of(model, {rule("*", Method::kGptq, row.scheme)});
    const ModelPtr held = run(plan, &tokens, memory);
    const std::string out = dir / (std::to_string(static_cast<int>(row.format)) + row.scheme);
    const ModelPtr opened = run(plan, &tokens, streamed(out, row.format));
    ASSERT_TRUE(held && opened) << row.scheme;
    EXPECT_EQ(matrix_hashes(*held), matrix_hashes(*opened)) << row.scheme;
    EXPECT_EQ(opened->format(), row.format);
    EXPECT_TRUE(logits_of(held) == logits_of(opened)) << row.scheme;
  }
}

TEST(Runs, GidxIsStoredAndReadBack) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 4, 40);
  const TempDir dir;
  Rule g_idx = rule("*", Method::kGptq, "w4g32");
  g_idx.gptq.order = Order::kGidx;
  const Plan plan = plan_of(model, {g_idx});
  RunOptions memory;
  memory.format = FormatId::kGptq;
  const ModelPtr held = run(plan, &tokens, memory), opened = run(plan, &tokens, streamed(dir / "out", FormatId::kGptq));
  ASSERT_TRUE(held && opened);
  EXPECT_EQ(matrix_hashes(*held), matrix_hashes(*opened));
  EXPECT_FALSE((*opened->load_matrix(0))->g_idx.empty());
  EXPECT_TRUE(logits_of(held) == logits_of(opened));
}

TEST(Runs, MixedRulesMixInOneDirectory) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 4, 24);
  const TempDir dir;
  for (const FormatId format : {FormatId::kCompressed, FormatId::kGptq}) {
    const Plan plan =
        plan_of(model, {rule("*", Method::kGptq, "w4g32"), rule("*.mlp.*", Method::kRtn, "w8"),
                        rule("*down_proj", Method::kGptq, "w2g64"), rule("model.layers.1.self_attn.*", Method::kKeep),
                        rule("lm_head", Method::kGptq, "w8g32")});
    const ModelPtr out = run(plan, &tokens, streamed(dir / numbered("out", static_cast<int>(format)), format));
    ASSERT_NE(out, nullptr);
    auto scheme_of = [&](const std::string& name) -> std::string {
      const auto stored = out->stored_scheme(static_cast<size_t>(out->find_module(name)));
      return stored ? scheme_name(stored->scheme) : "kept";
    };
    EXPECT_EQ(scheme_of("model.layers.0.self_attn.q_proj"), "w4g32");
    EXPECT_EQ(scheme_of("model.layers.0.mlp.up_proj"), "w8");
    EXPECT_EQ(scheme_of("model.layers.1.mlp.down_proj"), "w2g64");
    EXPECT_EQ(scheme_of("model.layers.1.self_attn.q_proj"), "kept");
    EXPECT_EQ(scheme_of("lm_head"), "w8g32");
    const RunReport report = report_of(*out);
    EXPECT_EQ(report.modules.size(), 11u);
    for (const ModuleReport& m : report.modules)
      EXPECT_EQ(m.method,
                m.name.find("gate") != m.name.npos || m.name.find("up") != m.name.npos ? Method::kRtn : Method::kGptq);
    EXPECT_EQ(report.calibration_sequences, 4);
    EXPECT_EQ(report.calibration_tokens, 96);
    EXPECT_EQ(report.calibration_hash, tokens.hash());
  }
}

TEST(Runs, TheHeadByARule) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 6, 24);
  const TempDir dir;
  const size_t head = model->modules().size() - 1;
  for (const FormatId format : {FormatId::kCompressed, FormatId::kGptq})
    for (const Method method : {Method::kRtn, Method::kGptq})
      for (const Method body : {Method::kKeep, Method::kGptq}) {
        const std::string out = dir / (numbered("f", static_cast<int>(format)) +
                                       numbered("m", static_cast<int>(method)) + numbered("b", static_cast<int>(body)));
        const ModelPtr opened = run(plan_of(model, {rule("*", body, "w4g32"), rule("lm_head", method, "w8g32")}),
                                    &tokens, streamed(out, format));
        ASSERT_NE(opened, nullptr);
        ASSERT_TRUE(opened->quantized(head));
        EXPECT_EQ(opened->quantized(0), body != Method::kKeep);
        EXPECT_EQ(report_of(*opened).modules.back().method, method);
        logits_of(opened);
      }
  // RTN of the head alone needs no tokens.
  const ModelPtr alone = run(plan_of(model, {rule("*", Method::kKeep), rule("lm_head", Method::kRtn, "w8")}), nullptr,
                             streamed(dir / "alone"));
  ASSERT_NE(alone, nullptr);
  EXPECT_EQ(report_of(*alone).modules.size(), 1u);
}

TEST(Runs, WhatCannotRunLeavesNothing) {
  const ModelPtr model = golden("llama-128");
  const TokenSet tokens = random_tokens(*model, 4, 16);
  const TempDir dir;
  auto fails = [&](const Plan& plan, const TokenSet* set, RunOptions options, Code code,
                   const std::vector<std::string>& words) {
    options.stream_to = dir / "out";
    expect_failure(run_plan(plan, set, options).status(), code, words);
    EXPECT_EQ(names_in(dir.path()), std::vector<std::string>());
  };
  const Plan all = plan_of(model, {rule("*", Method::kGptq)});
  fails(all, nullptr, {}, Code::kInvalidArgument, {"no calibration tokens"});
  TokenSet empty;
  fails(all, &empty, {}, Code::kInvalidArgument, {"no calibration tokens"});
  TokenSet foreign = tokens;
  foreign.sequences[2][5] = 999;
  fails(all, &foreign, {}, Code::kInvalidArgument, {"999"});
  fails(plan_of(model, {rule("*", Method::kKeep)}), &tokens, {}, Code::kInvalidArgument, {"keeps every module"});
  RunOptions strict;
  strict.strict = true;
  fails(all, &tokens, strict, Code::kInvalidArgument, {"64 calibration tokens", "256"});
  RunOptions plain;
  plain.format = FormatId::kPlain;
  fails(all, &tokens, plain, Code::kInvalidArgument, {"format"});
  // A quantized model is no start.
  const ModelPtr done = run(plan_of(model, {rule("*", Method::kRtn)}), nullptr, {});
  fails(plan_of(done, {rule("*", Method::kRtn)}), nullptr, {}, Code::kUnsupported, {"already quantized"});
  ModelOptions config_only;
  config_only.config_only = true;
  const ModelPtr shell = open_model(kGoldenModels + "llama-128", 1, config_only);
  fails(plan_of(shell, {rule("*", Method::kRtn)}), nullptr, {}, Code::kInvalidArgument, {"configuration only"});
}

TEST(Runs, ExistingTargetsAreKept) {
  const ModelPtr model = golden("llama-128");
  const TempDir dir;
  const Plan plan = plan_of(model, {rule("*", Method::kRtn)});
  RunOptions options = streamed(dir / "out");
  ASSERT_NE(run(plan, nullptr, options), nullptr);
  const auto before = files_of(dir.path());
  expect_failure(run_plan(plan, nullptr, options).status(), Code::kInvalidArgument, {"exists"});
  EXPECT_EQ(files_of(dir.path()), before);
  options.overwrite = true;
  options.shard_bytes = 200'000;
  ASSERT_NE(run(plan, nullptr, options), nullptr);
  EXPECT_TRUE(exists(dir / "out/model.safetensors.index.json"));
  EXPECT_FALSE(exists(dir / "out/model.safetensors"));
  EXPECT_EQ(matrix_hashes(*open_model(dir / "out")), matrix_hashes(*run(plan, nullptr, {})));
}

TEST(Runs, CancelledAnywhereLeavesNothing) {
  const ModelPtr model = golden("opt-350m-style", 2);
  const TokenSet tokens = random_tokens(*model, 4, 16);
  const TempDir dir;
  int32_t last = 0;
  for (int32_t stop = 0; stop < 100; stop++) {
    int32_t calls = 0;
    double fraction = 0;
    Progress progress([&](const ProgressInfo& info) {
      EXPECT_GE(info.fraction, fraction);
      EXPECT_LE(info.fraction, 1);
      fraction = info.fraction;
      return calls++ < stop;
    });
    RunOptions options = streamed(dir / "out");
    options.progress = &progress;
    const auto out = run_plan(plan_of(model, {rule("*", Method::kGptq, "w3g16")}), &tokens, options);
    last = stop;
    if (out.ok()) break;
    expect_failure(out.status(), Code::kCancelled, {});
    ASSERT_EQ(names_in(dir.path()), std::vector<std::string>()) << stop;
  }
  EXPECT_GE(last, 3);  // at the start, after each block, before publishing
  EXPECT_LT(last, 100);
  EXPECT_TRUE(exists(dir / "out/config.json"));
}

TEST(Runs, BadWeightsAreNamed) {
  const TempDir dir;
  copy_with("llama-128", dir / "nan", "model.layers.1.mlp.up_proj.weight", 0x7e00, 300, 1);  // a NaN in F16
  const ModelPtr model = open_model(dir / "nan");
  const TokenSet tokens = random_tokens(*model, 4, 16);
  for (const Method method : {Method::kRtn, Method::kGptq}) {
    RunOptions options = streamed(dir / "out");
    expect_failure(run_plan(plan_of(model, {rule("*", method)}), &tokens, options).status(), Code::kBadFile,
                   {"model.layers.1.mlp.up_proj.weight", "NaN"});
    EXPECT_FALSE(exists(dir / "out"));
  }
}

TEST(Runs, InputsThatAreAlwaysZeroFallBackOnlyIfAllowed) {
  const TempDir dir;
  copy_with("llama-128", dir / "zero", "model.embed_tokens.weight", 0);
  const ModelPtr model = open_model(dir / "zero");
  const TokenSet tokens = random_tokens(*model, 4, 16);
  for (const Order order : {Order::kStatic, Order::kGidx}) {
    Rule r = rule("*", Method::kGptq);
    r.gptq.order = order;
    expect_failure(run_plan(plan_of(model, {r}), &tokens, streamed(dir / "out", FormatId::kGptq)).status(),
                   Code::kNumeric, {"model.layers.0.self_attn.q_proj", "zero"});
    r.gptq.allow_rtn_fallback = true;
    const std::string out = dir / numbered("out", static_cast<int>(order));
    const ModelPtr quantized = run(plan_of(model, {r}), &tokens, streamed(out, FormatId::kGptq));
    ASSERT_NE(quantized, nullptr);
    const RunReport report = report_of(*quantized);
    ASSERT_EQ(report.modules.size(), 14u);
    for (const ModuleReport& m : report.modules) {
      EXPECT_TRUE(m.fell_back);
      EXPECT_EQ(m.method, Method::kRtn);
    }
    EXPECT_GE(report.events.size(), 14u);
    EXPECT_EQ(matrix_hashes(*quantized), matrix_hashes(*run(plan_of(model, {rule("*", Method::kRtn)}), nullptr, {})));
  }
}

TEST(Runs, LongSequencesAndFewTokensAreEvents) {
  const ModelPtr model = golden("qwen3-qknorm");
  const TokenSet tokens = random_tokens(*model, 1, 70);
  const RunReport report = report_of(*run(plan_of(model, {rule("*", Method::kGptq, "w4")}), &tokens, {}));
  ASSERT_EQ(report.events.size(), 2u);
  EXPECT_NE(report.events[0].find("70 calibration tokens"), std::string::npos);
  EXPECT_NE(report.events[1].find("1 calibration sequences were longer"), std::string::npos);
  EXPECT_TRUE(std::isnan(report.modules[0].output_error));  // nothing is held out of one sequence
}

}  // namespace
}  // namespace qz
