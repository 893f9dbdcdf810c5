#include "run/plan.h"

#include "run/options_json.h"
#include "unit/run/models.h"

namespace qz {
namespace {

TEST(Glob, MatchesWholeNames) {
  struct Row {
    const char *glob, *text;
    bool matches;
  };
  const Row table[] = {
      {"", "", true},
      {"", "a", false},
      {"*", "", true},
      {"*", "anything.at.all", true},
      {"**", "x", true},
      {"a", "a", true},
      {"a", "ab", false},
      {"a", "ba", false},
      {"?", "", false},
      {"?", "x", true},
      {"?", "xy", false},
      {"a*c", "abbbc", true},
      {"a*c", "ac", true},
      {"a*c", "abcd", false},
      {"*.mlp.*", "model.layers.0.mlp.up_proj", true},
      {"*.mlp.*", "model.layers.0.self_attn.q_proj", false},
      {"*down_proj", "model.layers.0.mlp.down_proj", true},
      {"model.layers.[01].*", "model.layers.1.mlp.up_proj", true},
      {"model.layers.[01].*", "model.layers.2.mlp.up_proj", false},
      {"model.layers.[01].*", "model.layers.01.mlp.up_proj", false},
      {"model.layers.?.*", "model.layers.7.x", true},
      {"model.layers.?.*", "model.layers.17.x", false},
      {"*[qkv]_proj", "a.b.q_proj", true},
      {"*[qkv]_proj", "a.b.o_proj", false},
      {"a[b", "a[b", true},  // no closing bracket: the character itself
      {"a[b", "ab", false},
      {"a[]b", "ab", false},  // an empty set matches nothing
      {"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
      {"*ab*", "aaab", true},
      {"lm_head", "lm_head", true},
      {"Lm_head", "lm_head", false},
  };
  for (const Row& row : table) EXPECT_EQ(glob_match(row.glob, row.text), row.matches) << row.glob << " " << row.text;
}

TEST(Plan, TheFirstRuleQuantizesEverythingButTheHead) {
  const ModelPtr model = golden("llama-128");
  const auto modules = resolve_plan(Plan(model), FormatId::kCompressed, true);
  ASSERT_TRUE(modules.ok()) << modules.status().text();
  ASSERT_EQ(modules->size(), 15u);  // two layers of seven, and the head
  for (size_t i = 0; i < 14; i++) {
    EXPECT_EQ((*modules)[i].method, Method::kGptq);
    EXPECT_EQ((*modules)[i].scheme.bits, 4);
    EXPECT_EQ((*modules)[i].scheme.scale, DType::kF16);  // the model's type
  }
  EXPECT_EQ((*modules)[14].method, Method::kKeep);
  const auto uncalibrated = resolve_plan(Plan(model), FormatId::kGptq, false);
  ASSERT_TRUE(uncalibrated.ok());
  EXPECT_EQ((*uncalibrated)[0].method, Method::kRtn);
}

TEST(Plan, TheLastMatchWins) {
  const ModelPtr model = golden("llama-128");
  const Plan plan =
      plan_of(model, {rule("*", Method::kRtn, "w4g32"), rule("*.mlp.*", Method::kRtn, "w8"),
                      rule("model.layers.1.*", Method::kKeep), rule("*.1.*.up_proj", Method::kGptq, "w2g16"),
                      rule("lm_head", Method::kRtn, "w8g64")});
  const auto modules = resolve_plan(plan, FormatId::kGptqV2, true);
  ASSERT_TRUE(modules.ok()) << modules.status().text();
  auto of = [&](const std::string& name) { return (*modules)[static_cast<size_t>(model->find_module(name))]; };
  EXPECT_EQ(scheme_name(of("model.layers.0.self_attn.q_proj").scheme), "w4g32");
  EXPECT_EQ(scheme_name(of("model.layers.0.mlp.up_proj").scheme), "w8");
  EXPECT_EQ(of("model.layers.1.mlp.gate_proj").method, Method::kKeep);
  EXPECT_EQ(of("model.layers.1.mlp.up_proj").method, Method::kGptq);
  EXPECT_EQ(scheme_name(of("model.layers.1.mlp.up_proj").scheme), "w2g16");
  EXPECT_EQ(of("lm_head").method, Method::kRtn);
  const PlanSummary summary = summarize_plan(*model, *modules);
  EXPECT_FALSE(summary.modules.back().in_block);
  EXPECT_TRUE(summary.modules.back().quantized);
}

TEST(Plan, GroupsWiderThanTheMatrixAreRows) {
  const auto modules =
      resolve_plan(plan_of(golden("llama-128"), {rule("*", Method::kRtn, "w4g256")}), FormatId::kCompressed, false);
  ASSERT_TRUE(modules.ok()) << modules.status().text();
  EXPECT_EQ((*modules)[0].scheme.group, kGroupRow);  // 128 columns
  EXPECT_EQ((*modules)[6].scheme.group, 256);        // down: 256 columns
}

TEST(Plan, RulesThatCannotBeMeantAreRefused) {
  Plan plan(golden("llama-128"));
  expect_failure(plan.add_rule(rule("*.layers.9.*", Method::kRtn)), Code::kInvalidArgument,
                 {"*.layers.9.*", "15", "model.layers.0.self_attn.q_proj"});
  Rule odd = rule("*", Method::kRtn);
  odd.scheme.bits = 5;
  expect_failure(plan.add_rule(odd), Code::kInvalidArgument, {"bits 5"});
  EXPECT_EQ(plan.rules().size(), 1u);
  Plan tied(golden("llama-tied"));
  expect_failure(tied.add_rule(rule("lm_head", Method::kRtn)), Code::kUnsupported, {"lm_head", "tied"});
  EXPECT_TRUE(tied.add_rule(rule("lm_head", Method::kKeep)).ok());
  // A wider glob leaves the tied head out.
  EXPECT_TRUE(tied.add_rule(rule("*[a-z]*", Method::kRtn)).ok());
}

TEST(Plan, GptqNeedsTokens) {
  expect_failure(
      resolve_plan(plan_of(golden("llama-128"), {rule("*", Method::kGptq)}), FormatId::kGptq, false).status(),
      Code::kInvalidArgument, {"model.layers.0.self_attn.q_proj", "no calibration tokens"});
}

TEST(Plan, WhatTheFormatCannotStoreIsOneMessage) {
  const ModelPtr model = golden("qwen3-qknorm");  // down: 72 columns
  expect_failure(resolve_plan(plan_of(model, {rule("*", Method::kRtn, "w4")}), FormatId::kGptq, false).status(),
                 Code::kUnsupported,
                 {"gptq cannot store", "model.layers.0.mlp.down_proj [64, 72]", "model.layers.1.mlp.gate_proj", "32",
                  "and 2 more"});
  expect_failure(
      resolve_plan(plan_of(golden("llama-128"), {rule("*", Method::kRtn, "w4g24")}), FormatId::kCompressed, false)
          .status(),
      Code::kUnsupported, {"model.layers.0.self_attn.q_proj", "divide 128", "and 10 more"});
  Rule g_idx = rule("*", Method::kGptq);
  g_idx.gptq.order = Order::kGidx;
  expect_failure(resolve_plan(plan_of(golden("llama-128"), {g_idx}), FormatId::kCompressed, true).status(),
                 Code::kUnsupported, {"g_idx"});
  EXPECT_TRUE(resolve_plan(plan_of(golden("llama-128"), {g_idx}), FormatId::kGptq, true).ok());
  // With one group there is no g_idx to store.
  g_idx.scheme = *scheme_preset("w4");
  EXPECT_TRUE(resolve_plan(plan_of(golden("llama-128"), {g_idx}), FormatId::kCompressed, true).ok());
  for (const FormatId id : {FormatId::kPlain, static_cast<FormatId>(77)})
    expect_failure(resolve_plan(Plan(golden("llama-128")), id, false).status(), Code::kInvalidArgument, {"format"});
}

TEST(PlanJson, ComesBack) {
  const ModelPtr model = golden("llama-128");
  Rule r = rule("*.mlp.*", Method::kGptq, "w3g64a");
  r.gptq = {64, Order::kGidx, 7, false, false, false, true, 3, 0.5, 0.02, 0.25, kChosen};
  const Plan plan = plan_of(model, {rule("*", Method::kDefault, "w4g128"), r,
                                    rule("*up_proj", Method::kRtn, "w2tensor"), rule("lm_head", Method::kKeep)});
  const auto back = Plan::from_json(model, dump_json(plan.to_json()));
  ASSERT_TRUE(back.ok()) << back.status().text();
  ASSERT_EQ(back->rules().size(), plan.rules().size());
  for (size_t i = 0; i < plan.rules().size(); i++) {
    const Rule &a = plan.rules()[i], &b = back->rules()[i];
    EXPECT_EQ(a.glob, b.glob);
    EXPECT_EQ(a.method, b.method);
    if (a.method != Method::kKeep) {
      EXPECT_EQ(a.scheme, b.scheme) << a.glob;
    }
    if (a.method == Method::kKeep || a.method == Method::kRtn) continue;
    EXPECT_EQ(a.gptq.block, b.gptq.block);
    EXPECT_EQ(a.gptq.order, b.gptq.order);
    EXPECT_EQ(a.gptq.sweeps, b.gptq.sweeps);
    EXPECT_EQ(a.gptq.search, b.gptq.search);
    EXPECT_EQ(a.gptq.signed_grid, b.gptq.signed_grid);
    EXPECT_EQ(a.gptq.refit, b.gptq.refit);
    EXPECT_EQ(a.gptq.allow_rtn_fallback, b.gptq.allow_rtn_fallback);
    EXPECT_EQ(a.gptq.metric, b.gptq.metric);
    EXPECT_EQ(a.gptq.metric_ridge, b.gptq.metric_ridge);
    EXPECT_EQ(a.gptq.damp, b.gptq.damp);
    EXPECT_EQ(a.gptq.drift, b.gptq.drift);
    EXPECT_EQ(a.gptq.residual, b.gptq.residual);
  }
  EXPECT_EQ(dump_json(back->to_json()), dump_json(plan.to_json()));
}

TEST(PlanJson, MistakesAreNamed) {
  const ModelPtr model = golden("llama-128");
  struct Row {
    const char* text;
    std::vector<std::string> words;
  };
  const Row table[] = {
      {"{", {"plan"}},
      {"[]", {"rules"}},
      {R"({"rules": {}})", {"rules"}},
      {R"({"rules": [], "extra": 1})", {"extra"}},
      {R"({"rules": [5]})", {"object"}},
      {R"({"rules": [{}]})", {"glob"}},
      {R"({"rules": [{"glob": 5}]})", {"glob"}},
      {R"({"rules": [{"glob": "*", "color": 1}]})", {"color"}},
      {R"({"rules": [{"glob": "*", "method": "awq"}]})", {"method", "awq"}},
      {R"({"rules": [{"glob": "*", "method": 3}]})", {"method", "3"}},
      {R"({"rules": [{"glob": "*", "method": ""}]})", {"method"}},
      {R"({"rules": [{"glob": "*", "scheme": "w5"}]})", {"5"}},
      {R"({"rules": [{"glob": "*", "scheme": 4}]})", {"scheme"}},
      {R"({"rules": [{"glob": "nothing", "method": "rtn"}]})", {"nothing"}},
      {R"({"rules": [{"glob": "*", "gptq": 1}]})", {"gptq"}},
      {R"({"rules": [{"glob": "*", "gptq": {"speed": 1}}]})", {"gptq.speed"}},
      {R"({"rules": [{"glob": "*", "gptq": {"block": 0}}]})", {"gptq.block"}},
      {R"({"rules": [{"glob": "*", "gptq": {"block": 99999999999}}]})", {"gptq.block"}},
      {R"({"rules": [{"glob": "*", "gptq": {"block": 1.5}}]})", {"gptq.block"}},
      {R"({"rules": [{"glob": "*", "gptq": {"order": "sideways"}}]})", {"order", "sideways"}},
      {R"({"rules": [{"glob": "*", "gptq": {"order": ""}}]})", {"order"}},
      {R"({"rules": [{"glob": "*", "gptq": {"sweeps": -1}}]})", {"gptq.sweeps"}},
      {R"({"rules": [{"glob": "*", "gptq": {"search": 1}}]})", {"gptq.search"}},
      {R"({"rules": [{"glob": "*", "gptq": {"signed_grid": "yes"}}]})", {"gptq.signed_grid"}},
      {R"({"rules": [{"glob": "*", "gptq": {"refit": null}}]})", {"gptq.refit"}},
      {R"({"rules": [{"glob": "*", "gptq": {"allow_rtn_fallback": 0}}]})", {"gptq.allow_rtn_fallback"}},
      {R"({"rules": [{"glob": "*", "gptq": {"damp": 0}}]})", {"gptq.damp"}},
      {R"({"rules": [{"glob": "*", "gptq": {"damp": 1.5}}]})", {"gptq.damp"}},
      {R"({"rules": [{"glob": "*", "gptq": {"metric": 65537}}]})", {"gptq.metric"}},
      {R"({"rules": [{"glob": "*", "gptq": {"metric_ridge": 0}}]})", {"gptq.metric_ridge"}},
      {R"({"rules": [{"glob": "*", "gptq": {"drift": "some"}}]})", {"gptq.drift"}},
      {R"({"rules": [{"glob": "*", "gptq": {"residual": -1}}]})", {"gptq.residual"}},
  };
  for (const Row& row : table) {
    const auto plan = Plan::from_json(model, row.text);
    ASSERT_FALSE(plan.ok()) << row.text;
    EXPECT_TRUE(plan.status().code() == Code::kInvalidArgument || plan.status().code() == Code::kBadFile) << row.text;
    for (const std::string& word : row.words)
      EXPECT_NE(plan.status().text().find(word), std::string::npos) << row.text << ": " << plan.status().text();
  }
}

TEST(PlanJson, NoRulesKeepEverything) {
  const auto plan = Plan::from_json(golden("llama-128"), R"({"rules": []})");
  ASSERT_TRUE(plan.ok());
  const auto modules = resolve_plan(*plan, FormatId::kCompressed, true);
  ASSERT_TRUE(modules.ok());
  for (const ModulePlan& m : *modules) EXPECT_EQ(m.method, Method::kKeep);
}

}  // namespace
}  // namespace qz
