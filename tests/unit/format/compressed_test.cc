#include "format/compressed.h"

#include "format/bits.h"
#include "sample.h"

namespace qz {
namespace {

const Format& format() { return *find_format(FormatId::kCompressed); }

TEST(Compressed, EverySchemeComesBack) {
  for (int32_t bits : {2, 3, 4, 8})
    for (int32_t group : {16, 48, kGroupRow, kGroupTensor})
      for (bool symmetric : {true, false})
        for (DType scale : {DType::kF16, DType::kBF16, DType::kF32})
          expect_round_trip(format(), sample_matrix({CodeKind::kInt, bits, group, symmetric, scale}, 37, 144));
}

TEST(Compressed, OneZeroPointPerTensorIsSignedAndNotPacked) {
  QMatrix q = sample_matrix({CodeKind::kInt, 4, kGroupTensor, false, DType::kBF16}, 16, 16);
  q.zeros = {0};
  Result<Parts> parts = format().encode(q);
  ASSERT_TRUE(parts.ok());
  ASSERT_EQ((*parts)[3].dtype, DType::kI8);
  EXPECT_EQ(static_cast<int8_t>((*parts)[3].bytes[0]), -8);
  (*parts)[3].bytes[0] = 8;
  EXPECT_EQ(format().decode(*parts, {q.scheme, false, true}, 16, 16).status().text(),
            "weight_zero_point: 8, expected -8 to 7");
}

// As releases before 0.17 stored widths that do not divide 32.
TEST(Compressed, PaddedWordsAreReadWhereTheWidthOrTheVersionSaysSo) {
  for (int64_t cols : {16, 24, 30, 64}) {  // 30 columns of 3 bits: three words in either layout
    QMatrix q = sample_matrix({CodeKind::kInt, 3, kGroupRow, false, DType::kBF16}, 30, cols);
    Parts parts = *format().encode(q);
    for (int dense : {0, 1}) {
      const int64_t stream = packed_words(Packing::kStream, cols, 3), padded = packed_words(Packing::kPadded, cols, 3);
      const Packing packing = dense ? Packing::kStream : Packing::kPadded;
      parts[0].shape[1] = dense ? stream : padded;
      parts[0].bytes.assign(static_cast<size_t>(30 * parts[0].shape[1] * 4), 0);
      for (int64_t r = 0; r < 30; ++r)
        pack(packing, q.codes.data() + r * cols, cols, 3, parts[0].bytes.data() + r * parts[0].shape[1] * 4);
      pack_down(packing, q.zeros.data(), 1, 30, 3, parts[3].bytes.data());
      Result<QMatrix> back = format().decode(parts, {q.scheme, false, dense == 1}, 30, cols);
      ASSERT_TRUE(back.ok()) << back.status().text();
      expect_equal(*back, q);
    }
  }
}

TEST(Compressed, GroupIndexIsReadButNotWritten) {
  QMatrix q = sample_matrix({CodeKind::kInt, 4, 32, true, DType::kBF16}, 16, 64);
  Parts parts = *format().encode(q);
  Part& g_idx = parts.emplace_back();
  g_idx.name = "weight_g_idx";
  g_idx.dtype = DType::kI32;
  g_idx.shape = {64};
  g_idx.bytes.resize(256);
  for (size_t c = 0; c < 64; ++c) g_idx.bytes[4 * c] = c % 2;
  Result<QMatrix> back = format().decode(parts, {q.scheme, true, true}, 16, 64);
  ASSERT_TRUE(back.ok()) << back.status().text();
  EXPECT_EQ(back->g_idx[1], 1);
  EXPECT_EQ(back->g_idx[2], 0);
  EXPECT_EQ(format().encode(*back).status().code(), Code::kUnsupported);
  EXPECT_EQ(format().can_store(q.scheme, 16, 64, true).code(), Code::kUnsupported);

  parts.back().bytes.assign(256, 0xFF);  // "not set"
  back = format().decode(parts, {q.scheme, true, true}, 16, 64);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->g_idx.empty());
  parts.pop_back();
  EXPECT_EQ(format().decode(parts, {q.scheme, true, true}, 16, 64).status().text(),
            "weight_g_idx: missing, expected a tensor of shape [64]");
}

TEST(Compressed, DamagedPartsAreRefusedByName) {
  const QMatrix q = sample_matrix({CodeKind::kInt, 4, 32, false, DType::kBF16}, 16, 64);
  const Parts good = *format().encode(q);
  auto words = [&](auto&& damage) {
    Parts parts = good;
    StoredScheme stored = {q.scheme, false, true};
    damage(&parts, &stored);
    Result<QMatrix> r = format().decode(parts, stored, 16, 64);
    if (r.ok()) return std::string("decoded");
    EXPECT_EQ(r.status().code(), Code::kBadFile);
    return r.status().text();
  };
  EXPECT_EQ(words([](Parts* p, auto) { (*p)[0].shape = {16, 7}; }), "weight_packed: shape [16, 7], expected [16, 8]");
  EXPECT_EQ(words([](Parts* p, auto) { (*p)[0].bytes.resize(7); }),
            "weight_packed: 7 bytes, expected 512 for shape [16, 8]");
  EXPECT_EQ(words([](Parts* p, auto) { (*p)[1].dtype = DType::kI32; }),
            "weight_scale: type I32, expected F16 or BF16 or F32");
  EXPECT_EQ(words([](Parts* p, auto) { (*p)[1].shape = {16}; }), "weight_scale: shape [16], expected [16, 2]");
  EXPECT_EQ(words([](Parts* p, auto) { (*p)[2].bytes[0] = 17; }), "weight_shape: [17, 64], expected [16, 64]");
  EXPECT_EQ(words([](Parts* p, auto) { p->pop_back(); }),
            "weight_zero_point: missing, expected a tensor of shape [2, 2]");
  EXPECT_EQ(words([](Parts* p, auto) { (*p)[3].shape = {2, 3}; }), "weight_zero_point: shape [2, 3], expected [2, 2]");
  EXPECT_EQ(words([](Parts*, StoredScheme* s) { s->scheme.symmetric = true; }),
            "weight_zero_point: found, although the configuration says symmetric");
  EXPECT_EQ(words([](Parts*, StoredScheme* s) { s->scheme.bits = 8; }),
            "weight_packed: shape [16, 8], expected [16, 16]");
  EXPECT_EQ(words([](Parts* p, auto) { (*p)[1].bytes[0] = 0xC0, (*p)[1].bytes[1] = 0x7F; }),
            "weight_scale: element 0 is not a finite number");
  EXPECT_FALSE(format().decode({}, {q.scheme, false, true}, 16, 64).ok());
  EXPECT_FALSE(format().decode(good, {q.scheme, false, true}, INT64_MAX, 64).ok());
}

TEST(Compressed, WhatCannotBeStoredIsSaidBefore) {
  EXPECT_EQ(format().can_store({CodeKind::kInt, 5, 32, true, DType::kF16}, 16, 64, false).text(),
            "compressed-tensors: cannot store 5 bits, only 2, 3, 4, 8");
  EXPECT_EQ(format().can_store({CodeKind::kInt, 4, 128, true, DType::kF16}, 16, 192, false).text(),
            "compressed-tensors: groups of 128 do not divide 192 columns");
  EXPECT_TRUE(format().can_store({CodeKind::kInt, 4, 64, true, DType::kF16}, 7, 192, false).ok());
  EXPECT_EQ(format().scale_dtype(DType::kBF16), DType::kBF16);
  EXPECT_EQ(format().scale_dtype(DType::kF16), DType::kF16);
  EXPECT_EQ(format().scale_dtype(DType::kF32), DType::kF32);
  EXPECT_EQ(format().min_zero, 0);
}

TEST(Compressed, ConfigurationOfOneScheme) {
  PlanSummary plan;
  plan.modules = {planned("model.layers.0.self_attn.q_proj", "w4g128"), planned("model.layers.0.self_attn.k_proj", ""),
                  planned("lm_head", "", false)};
  plan.modules[0].static_order = true;
  Result<Json> config = format().config(plan);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(dump_json(*config), dump_json(parsed(R"({
      "config_groups": {"group_0": {"format": "pack-quantized", "input_activations": null, "output_activations": null,
        "targets": ["Linear"], "weights": {"actorder": "static", "block_structure": null, "dynamic": false, "group_size": 128,
          "num_bits": 4, "observer": "minmax", "observer_kwargs": {}, "strategy": "group", "symmetric": true, "type": "int"}}},
      "format": "pack-quantized", "global_compression_ratio": null, "ignore": ["model.layers.0.self_attn.k_proj", "lm_head"],
      "kv_cache_scheme": null, "quant_method": "compressed-tensors", "quantization_status": "compressed", "sparsity_config": {},
      "transform_config": {}, "version": "0.12.2"})")));
  EXPECT_TRUE(format().extra_files(*config).empty());
  EXPECT_EQ(scheme_of(format(), *config, "model.layers.0.self_attn.q_proj"), "w4g128");
  EXPECT_EQ(scheme_of(format(), *config, "model.layers.0.self_attn.k_proj"), "kept");
  EXPECT_EQ(scheme_of(format(), *config, "lm_head"), "kept");
}

TEST(Compressed, ConfigurationOfAMixedModelNamesEveryModule) {
  PlanSummary plan;
  plan.modules = {planned("m.0.q", "w3g64"), planned("m.0.k", "w8"), planned("m.0.v", "w8tensora"),
                  planned("m.1.q", "w3g64")};
  const Json config = *format().config(plan);
  EXPECT_EQ(config["config_groups"]["group_0"]["targets"], parsed(R"(["m.0.q", "m.1.q"])"));
  EXPECT_EQ(config["config_groups"]["group_1"]["weights"]["strategy"], "channel");
  EXPECT_EQ(config["config_groups"]["group_1"]["weights"]["group_size"], Json());
  EXPECT_EQ(config["config_groups"]["group_2"]["weights"]["strategy"], "tensor");
  EXPECT_EQ(config["ignore"], parsed(R"(["lm_head"])"));
  EXPECT_EQ(config["version"], "0.17.0");  // 3 bits as a dense stream
  for (const PlannedModule& m : plan.modules) EXPECT_EQ(scheme_of(format(), config, m.name), scheme_name(m.scheme));
  EXPECT_EQ(scheme_of(format(), config, "m.1.k"), "kept");
  EXPECT_FALSE(format().config({}).ok());
}

Json changed(const std::string& changes) {
  Json config =
      parsed(R"({"config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int",
      "symmetric": true, "strategy": "group", "group_size": 128}}}, "format": "pack-quantized", "ignore": ["re:.*lm_head"],
      "quant_method": "compressed-tensors"})");
  config.merge_patch(parsed(changes));
  return config;
}

TEST(Compressed, ConfigurationsOfOtherTools) {
  auto words = [](const std::string& changes) {
    return scheme_of(format(), changed(changes), "model.layers.0.mlp.up_proj");
  };
  EXPECT_EQ(words("{}"), "w4g128");
  EXPECT_EQ(scheme_of(format(), changed("{}"), "lm_head"), "kept");
  EXPECT_EQ(words(R"({"ignore": ["re:model\\.layers\\.0\\."]})"), "kept");
  EXPECT_EQ(words(R"({"ignore": ["model.layers.0.mlp.up_proj"]})"), "kept");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"targets": ["re:.*self_attn.*"]}}})"), "kept");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"weights": {"actorder": "group"}}}})"), "w4g128 g_idx");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"weights": {"actorder": "static"}}}})"), "w4g128");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"weights": {"strategy": null, "group_size": -1}}}})"), "w4");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"weights": {"strategy": null, "group_size": null}}}})"),
            "w4tensor");
  // The name itself before a pattern, a pattern before the class, whatever the order.
  EXPECT_EQ(
      words(
          R"({"config_groups": {"group_1": {"targets": ["re:.*up_proj"], "weights": {"num_bits": 8, "strategy": "channel"}},
      "group_2": {"targets": ["model.layers.0.mlp.up_proj"], "weights": {"num_bits": 2, "strategy": "channel"}}}})"),
      "w2");
  EXPECT_EQ(
      words(
          R"({"config_groups": {"group_1": {"targets": ["re:.*up_proj"], "weights": {"num_bits": 8, "strategy": "channel"}}}})"),
      "w8");
  // Formats per group, as mixed-precision models have them.
  EXPECT_EQ(words(R"({"format": "mixed-precision", "config_groups": {"group_0": {"format": "pack-quantized"}}})"),
            "w4g128");

  auto dense = [](const std::string& changes) {
    return (*format().stored_scheme(changed(changes), "x", 128, 128))->dense;
  };
  EXPECT_FALSE(dense(R"({"version": "0.12.2"})"));
  EXPECT_FALSE(dense(R"({"version": "0.16.1"})"));
  EXPECT_TRUE(dense(R"({"version": "0.17.0"})"));
  EXPECT_TRUE(dense(R"({"version": "0.19.1.a20260923"})"));
  EXPECT_TRUE(dense(R"({"version": "1.0"})"));
  EXPECT_TRUE(dense("{}"));
}

TEST(Compressed, ConfigurationsThatAreRefused) {
  auto words = [](const std::string& changes) {
    return scheme_of(format(), changed(changes), "model.layers.0.mlp.up_proj");
  };
  EXPECT_EQ(words(R"({"format": "int-quantized"})"),
            "error: model.layers.0.mlp.up_proj: quantization_config: 4 bits that are not packed, expected 8");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"format": "nvfp4-pack-quantized"}}})"),
            "error: quantization_config: format is \"nvfp4-pack-quantized\", expected \"pack-quantized\", "
            "\"int-quantized\" or \"float-quantized\"");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"input_activations": {"num_bits": 8}}}})"), "w4g128a8s");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"weights": {"type": "float"}}}})"),
            "error: model.layers.0.mlp.up_proj: quantization_config: weights.type is \"float\", expected \"int\", "
            "or \"float\" of 8 bits");
  EXPECT_EQ(
      words(R"({"config_groups": {"group_0": {"input_activations": {"num_bits": 4}}}})"),
      "error: quantization_config: input_activations is {\"num_bits\":4}, expected symmetric, 8 bits, of the type "
      "of the weights");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"weights": {"num_bits": 1}}}})"),
            "error: model.layers.0.mlp.up_proj: quantization_config: num_bits 1, expected 2 to 8");
  EXPECT_EQ(words(R"({"config_groups": {"group_0": {"weights": {"strategy": "block"}}}})"),
            "error: model.layers.0.mlp.up_proj: quantization_config: weights.strategy is \"block\", expected "
            "\"group\", \"channel\" or "
            "\"tensor\"");
  EXPECT_NE(words(R"({"config_groups": {"group_0": {"weights": {"dynamic": true}}}})").find("weights.dynamic"),
            std::string::npos);
  EXPECT_NE(words(R"({"config_groups": {"group_0": {"weights": {"actorder": "x"}}}})").find("weights.actorder"),
            std::string::npos);
  EXPECT_NE(words(R"({"config_groups": {"group_0": {"weights": {"group_size": 7}}}})").find("group_size 7"),
            std::string::npos);
  EXPECT_NE(words(R"({"config_groups": {"group_0": {"weights": 3}}})").find("weights is 3"), std::string::npos);
  EXPECT_NE(words(R"({"config_groups": {"W4A16": ["Linear"]}})").find("config_groups.W4A16"), std::string::npos);
  EXPECT_NE(words(R"({"config_groups": null})").find("'config_groups' is missing"), std::string::npos);
  EXPECT_NE(words(R"({"ignore": "lm_head"})").find("key 'ignore'"), std::string::npos);
  EXPECT_NE(words(R"({"ignore": ["re:a{2}"]})").find("pattern 'a{2}'"), std::string::npos);
  EXPECT_NE(words(R"({"ignore": [1]})").find("target 1"), std::string::npos);
  EXPECT_NE(words(R"({"sparsity_config": {"format": "sparse-24-bitmask"}})").find("sparsity_config.format"),
            std::string::npos);
}

}  // namespace
}  // namespace qz
