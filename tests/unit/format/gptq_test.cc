#include "format/gptq.h"

#include "sample.h"

namespace qz {
namespace {

const Format& v1() { return *find_format(FormatId::kGptq); }
const Format& v2() { return *find_format(FormatId::kGptqV2); }
const Format& planar() { return *find_format(FormatId::kGptqPlanar); }

TEST(Gptq, EverySchemeComesBack) {
  for (FormatId id : {FormatId::kGptq, FormatId::kGptqV2, FormatId::kGptqPlanar})
    for (int32_t bits = 2; bits <= 8; ++bits)
      for (int32_t group : {32, 96, kGroupRow})
        for (bool symmetric : {true, false}) {
          if (bits > 4 && bits < 8 && id != FormatId::kGptqPlanar) continue;
          expect_round_trip(*find_format(id),
                            sample_matrix({CodeKind::kInt, bits, group, symmetric, DType::kF16}, 64, 192));
        }
}

TEST(Gptq, ZeroPointsOfNoughtComeBackFromV1) {
  for (int32_t bits : {2, 3, 4, 8}) {
    QMatrix q = sample_matrix({CodeKind::kInt, bits, 32, false, DType::kF16}, 32, 64);
    for (size_t i = 0; i < q.zeros.size(); i += 3) q.zeros[i] = 0;
    expect_round_trip(v1(), q);
  }
}

TEST(Gptq, GroupIndexComesBack) {
  QMatrix q = sample_matrix({CodeKind::kInt, 4, 32, false, DType::kF16}, 32, 128);
  for (int i = 0; i < 128; ++i) q.g_idx.push_back(i * 5 % 4);
  expect_round_trip(v1(), q);
  // The natural order is written out and read as none.
  Result<Parts> parts = v1().encode(sample_matrix({CodeKind::kInt, 4, 64, true, DType::kF16}, 32, 128));
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ((*parts)[0].name, "g_idx");
  EXPECT_EQ((*parts)[0].bytes[4 * 63], 0);
  EXPECT_EQ((*parts)[0].bytes[4 * 64], 1);
}

TEST(Gptq, WhatCannotBeStoredIsSaidBefore) {
  const Scheme good = {CodeKind::kInt, 4, 64, true, DType::kF16};
  EXPECT_TRUE(v1().can_store(good, 64, 128, true).ok());
  auto refused = [&](const Format& f, auto&& change, int64_t rows, int64_t cols) {
    Scheme s = good;
    change(&s);
    const Status status = f.can_store(s, rows, cols, false);
    EXPECT_EQ(f.encode(sample_matrix(s, rows, cols)).status().text(), status.text());
    return status.text();
  };
  auto same = [](Scheme*) {};
  EXPECT_EQ(refused(
                v1(), [](Scheme* s) { s->group = kGroupTensor; }, 64, 128),
            "gptq: cannot store one scale per tensor, only groups or one per row");
  EXPECT_EQ(refused(v2(), [](Scheme* s) { s->bits = 5; }, 64, 128), "gptq_v2: cannot store 5 bits, only 2, 3, 4, 8");
  EXPECT_EQ(refused(
                planar(), [](Scheme* s) { s->scale = DType::kF32; }, 64, 128),
            "gptq_p: cannot store scales of type F32, only F16");
  EXPECT_EQ(refused(v1(), same, 48, 128), "gptq: cannot store 48 x 128, rows and columns must be multiples of 32");
  EXPECT_EQ(refused(v1(), same, 64, 96), "gptq: groups of 64 do not divide 96 columns");
  EXPECT_EQ(v1().min_zero, 1);
  EXPECT_EQ(v2().min_zero, 0);
  EXPECT_EQ(v1().scale_dtype(DType::kBF16), DType::kF16);
}

TEST(Gptq, ScalesThatDoNotFitF16AreNotRounded) {
  QMatrix q = sample_matrix({CodeKind::kInt, 4, 64, true, DType::kBF16}, 32, 64);
  EXPECT_TRUE(v1().encode(q).ok());  // these BF16 numbers are F16 numbers too
  q.scales[5] = 1e30f;
  EXPECT_EQ(v1().encode(q).status().code(), Code::kUnsupported);
  EXPECT_NE(v1().encode(q).status().text().find("scales: scale"), std::string::npos);
}

TEST(Gptq, DamagedPartsAreRefusedByName) {
  const QMatrix q = sample_matrix({CodeKind::kInt, 4, 64, true, DType::kF16}, 64, 128);
  const StoredScheme stored = {q.scheme, false, true};
  const Parts good = *v1().encode(q);
  auto words = [&](auto&& damage) {
    Parts parts = good;
    damage(&parts);
    Result<QMatrix> r = v1().decode(parts, stored, 64, 128);
    if (r.ok()) return std::string("decoded");
    EXPECT_EQ(r.status().code(), Code::kBadFile);
    return r.status().text();
  };
  EXPECT_EQ(words([](Parts* p) { (*p)[1].shape = {64, 16}; }), "qweight: shape [64, 16], expected [16, 64]");
  EXPECT_EQ(words([](Parts* p) { (*p)[1].bytes.pop_back(); }), "qweight: 4095 bytes, expected 4096 for shape [16, 64]");
  EXPECT_EQ(words([](Parts* p) { (*p)[1].dtype = DType::kI64; }), "qweight: type I64, expected I32");
  EXPECT_EQ(words([](Parts* p) { (*p)[3].dtype = DType::kF32; }), "scales: type F32, expected F16 or BF16");
  EXPECT_EQ(words([](Parts* p) { p->pop_back(); }), "scales: missing, expected a tensor of shape [2, 64]");
  EXPECT_EQ(words([](Parts* p) { (*p)[0].bytes[4 * 7] = 2; }), "g_idx: column 7 is in group 2, expected 0 to 1");
  EXPECT_EQ(words([](Parts* p) { (*p)[0].bytes[4 * 7 + 3] = 0x80; }),
            "g_idx: column 7 is in group -2147483648, expected 0 to 1");
  EXPECT_EQ(words([](Parts* p) { (*p)[2].bytes[1] = 0x76; }),
            "qzeros: zero point 7 of group 0, row 2, expected 8 because sym is true");
  EXPECT_EQ(words([](Parts* p) { (*p)[3].bytes[1] = 0x7C, (*p)[3].bytes[0] = 0; }),
            "scales: element 0 is not a finite number");
  EXPECT_EQ(words([](Parts* p) { p->erase(p->begin()); }), "decoded");  // without desc_act, g_idx may be absent
  EXPECT_FALSE(v1().decode({good[1], good[2], good[3]}, {q.scheme, true, true}, 64, 128).ok());
  EXPECT_EQ(v1().decode(good, {{CodeKind::kInt, 4, 64, true, DType::kNone}, false, true}, 0, 128).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(v1().decode(good, {{CodeKind::kInt, 1, 64, true, DType::kNone}, false, true}, 64, 128).status().code(),
            Code::kInvalidArgument);
  EXPECT_FALSE(v1().decode(good, stored, INT64_MAX, INT64_MAX).ok());
}

TEST(Gptq, ConfigurationOfOneScheme) {
  PlanSummary plan;
  plan.damp = 0.05;
  plan.modules = {planned("model.layers.0.self_attn.q_proj", "w4g128"), planned("lm_head", "", false)};
  Result<Json> config = v1().config(plan);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(
      *config,
      parsed(R"({"bits": 4, "checkpoint_format": "gptq", "damp_percent": 0.05, "desc_act": false, "group_size": 128,
      "lm_head": false, "meta": {"quantizer": ["libqz:0.1.0"]}, "pack_dtype": "int32", "quant_method": "gptq", "sym": true})"));
  const std::vector<ConfigFile> files = v1().extra_files(*config);
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].name, "quantize_config.json");
  EXPECT_EQ(parsed(files[0].text), *config);
  EXPECT_EQ((*v2().config(plan))["checkpoint_format"], "gptq_v2");
  EXPECT_EQ((*planar().config(plan))["checkpoint_format"], "gptq_p");
}

TEST(Gptq, ConfigurationOfAMixedModelSaysWhatEachModuleIs) {
  PlanSummary plan;
  plan.modules = {
      planned("m.0.q", "w4g64"), planned("m.0.k", "w8"),    planned("m.0.v", "w4g64a"),         planned("m.0.o", ""),
      planned("m.1.q", "w4g64"), planned("m.1.k", "w4g64"), planned("lm_head", "w8g128", false)};
  plan.modules[5].g_idx = true;
  const Json config = *v1().config(plan);
  EXPECT_EQ(config["dynamic"], parsed(R"({"-:^m\\.0\\.o$": {}, "+:^m\\.0\\.k$": {"bits": 8, "group_size": -1},
      "+:^m\\.0\\.v$": {"sym": false}, "+:^m\\.1\\.k$": {"desc_act": true}, "+:^lm_head$": {"bits": 8, "group_size": 128}})"));
  EXPECT_EQ(config["lm_head"], true);
  EXPECT_EQ(scheme_of(v1(), config, "m.0.q"), "w4g64");
  EXPECT_EQ(scheme_of(v1(), config, "m.0.k"), "w8");
  EXPECT_EQ(scheme_of(v1(), config, "m.0.v"), "w4g64a");
  EXPECT_EQ(scheme_of(v1(), config, "m.0.o"), "kept");
  EXPECT_EQ(scheme_of(v1(), config, "m.1.k"), "w4g64 g_idx");
  EXPECT_EQ(scheme_of(v1(), config, "m.1.q"), "w4g64");
  EXPECT_EQ(scheme_of(v1(), config, "lm_head"), "w8g128");
}

TEST(Gptq, ConfigurationsOfOtherTools) {
  const std::string name = "model.layers.3.mlp.down_proj";
  // AutoGPTQ.
  Json config = parsed(
      R"({"bits": 4, "group_size": 128, "damp_percent": 0.1, "desc_act": true, "static_groups": false, "sym": true,
      "true_sequential": true, "model_name_or_path": null, "model_file_base_name": null, "quant_method": "gptq"})");
  EXPECT_EQ(scheme_of(v1(), config, name), "w4g128 g_idx");
  EXPECT_EQ(scheme_of(v1(), config, "lm_head"), "kept");
  EXPECT_EQ((*detect_format(config))->id, FormatId::kGptq);
  // The example of GPTQModel's README: layers by number, some skipped.
  config = parsed(R"({"bits": 4, "group_size": 128, "quant_method": "gptq", "checkpoint_format": "gptq_v2", "dynamic": {
      ".*\\.(?:1[8-9]|2[0-3])\\..*gate.*": {"bits": 8}, "+:.*\\.3\\.mlp\\.down.*": {"bits": 2, "group_size": 32, "sym": false},
      "-:.*down.*": {}}})");
  EXPECT_EQ((*detect_format(config))->id, FormatId::kGptqV2);
  EXPECT_EQ(scheme_of(v2(), config, name), "w2g32a");
  EXPECT_EQ(scheme_of(v2(), config, "model.layers.4.mlp.down_proj"), "kept");
  EXPECT_EQ(scheme_of(v2(), config, "model.layers.19.mlp.gate_proj"), "w8g128");
  EXPECT_EQ(scheme_of(v2(), config, "model.layers.2.mlp.gate_proj"), "w4g128");
  // transformers: only some of a block's modules.
  config = parsed(R"({"bits": 4.0, "group_size": -1, "quant_method": "gptq",
      "modules_in_block_to_quantize": [["self_attn.q_proj", "self_attn.k_proj"], ["mlp.down_proj"]]})");
  EXPECT_EQ(scheme_of(v1(), config, name), "w4");
  EXPECT_EQ(scheme_of(v1(), config, "model.layers.3.mlp.up_proj"), "kept");
  EXPECT_EQ(scheme_of(v1(), config, "model.layers.3.xself_attn.q_proj"), "kept");
}

TEST(Gptq, ConfigurationsThatAreRefused) {
  auto words = [](const std::string& changes) {
    Json config = parsed(R"({"bits": 4, "group_size": 128, "quant_method": "gptq"})");
    config.update(parsed(changes));
    return scheme_of(v1(), config, "model.layers.0.q");
  };
  EXPECT_EQ(words(R"({"bits": "4"})"), "error: quantization_config: key 'bits' is \"4\", expected an integer");
  EXPECT_EQ(words(R"({"bits": null})"), "error: quantization_config: key 'bits' is missing");
  EXPECT_EQ(words(R"({"bits": 5})"),
            "error: quantization_config: bits 5 in checkpoint_format 'gptq', expected 2, 3, 4 or 8");
  EXPECT_EQ(words(R"({"bits": 16})"), "error: quantization_config: bits 16, expected 2 to 8");
  EXPECT_EQ(words(R"({"bits": 18446744073709551615})"),
            "error: quantization_config: key 'bits' is 18446744073709551615, expected an integer");
  EXPECT_EQ(words(R"({"group_size": 0})"),
            "error: quantization_config: group_size 0, expected a multiple of 8 from 16 to 1024, or -1");
  EXPECT_EQ(words(R"({"sym": 1})"), "error: quantization_config: key 'sym' is 1, expected true or false");
  EXPECT_EQ(words(R"({"pack_dtype": "int16"})"), "error: quantization_config: pack_dtype 'int16', expected int32");
  EXPECT_EQ(words(R"({"dynamic": []})"), "error: quantization_config: key 'dynamic' is [], expected an object");
  EXPECT_EQ(words(R"({"dynamic": {"model": 3}})"),
            "error: quantization_config: dynamic 'model' is 3, expected an object");
  EXPECT_EQ(
      words(R"x({"dynamic": {"-:(?!x)": {}}})x"),
      "error: quantization_config: dynamic: pattern '(?!x)': not one of the regular expressions that are understood");
  EXPECT_EQ(words(R"({"modules_in_block_to_quantize": [3]})"),
            "error: quantization_config: key 'modules_in_block_to_quantize' holds 3, expected lists of names");
  EXPECT_FALSE(v1().config({}).ok());
}

}  // namespace
}  // namespace qz
