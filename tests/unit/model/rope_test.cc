// Rotation tables. The constants were computed in float64 with NumPy from the published formulas: linear and NTK-aware
// scaling as in transformers' modeling_rope_utils, YaRN as in arXiv 2309.00071 (equations 17 to 23) with transformers'
// truncation and mscale.
#include <gtest/gtest.h>

#include "model/block.h"

namespace qz {
namespace {

ModelConfig config_of(int64_t head_dim, RopeConfig rope) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope = rope;
  return config;
}

void expect_row(const RopeTable& table, int64_t position, const std::vector<double>& cos,
                const std::vector<double>& sin) {
  ASSERT_EQ(table.half, static_cast<int64_t>(cos.size()));
  ASSERT_LT(position, table.positions);
  for (size_t i = 0; i < cos.size(); ++i) {
    const size_t at = static_cast<size_t>(position * table.half) + i;
    EXPECT_NEAR(static_cast<double>(table.global.cos[at]), cos[i], 2e-6) << "pair " << i;
    EXPECT_NEAR(static_cast<double>(table.global.sin[at]), sin[i], 2e-6) << "pair " << i;
  }
}

TEST(Rope, Default) {
  const RopeTable table = make_rope_table(config_of(8, {}), 4);
  expect_row(table, 0, {1, 1, 1, 1}, {0, 0, 0, 0});
  expect_row(table, 3, {-0.989992497, 0.955336489, 0.999550034, 0.999995500},
             {0.141120008, 0.295520207, 0.029995500, 0.002999996});
}

TEST(Rope, PartialRotatesTheFirstDimensions) {
  const RopeTable table = make_rope_table(config_of(16, {.partial = 0.5}), 4);
  expect_row(table, 3, {-0.989992497, 0.955336489, 0.999550034, 0.999995500},
             {0.141120008, 0.295520207, 0.029995500, 0.002999996});
}

TEST(Rope, Linear) {
  const RopeTable table = make_rope_table(config_of(8, {.kind = RopeKind::kLinear, .factor = 4}), 8);
  expect_row(table, 3, {0.731688869, 0.997188818, 0.999971875, 0.999999719},
             {0.681638760, 0.074929707, 0.007499930, 0.000750000});
  expect_row(table, 7, {-0.178246056, 0.984726539, 0.999846879, 0.999998469},
             {0.983985947, 0.174108138, 0.017499107, 0.001749999});
}

TEST(Rope, DynamicLooksAtTheLength) {
  const ModelConfig config = config_of(8, {.kind = RopeKind::kDynamic, .factor = 2, .original_max_seq = 16});
  const std::vector<double> plain_cos = {0.283662185, 0.877582562, 0.998750260, 0.999987500};
  const std::vector<double> plain_sin = {-0.958924275, 0.479425539, 0.049979169, 0.004999979};
  expect_row(make_rope_table(config, 8), 5, plain_cos, plain_sin);
  expect_row(make_rope_table(config, 16), 5, plain_cos, plain_sin);
  expect_row(make_rope_table(config, 48), 5, {0.283662185, 0.957554320, 0.999853803, 0.999999500},
             {-0.958924275, 0.288252883, 0.017098926, 0.001000000});
}

TEST(Rope, Llama3) {
  const ModelConfig config = config_of(16, {.kind = RopeKind::kLlama3,
                                            .theta = 500000,
                                            .factor = 8,
                                            .low_freq_factor = 1,
                                            .high_freq_factor = 4,
                                            .original_max_seq = 8192});
  expect_row(
      make_rope_table(config, 101), 100,
      {0.862318872, 0.856307808, -0.814453028, 0.745663368, 0.998622999, 0.999994124, 0.999999779, 0.999999992},
      {-0.506365641, 0.516465816, -0.580229494, 0.666322851, 0.052460523, 0.003428095, 0.000664787, 0.000128917});
}

TEST(Rope, Yarn) {
  RopeConfig rope = {.kind = RopeKind::kYarn, .factor = 4, .original_max_seq = 4096};
  expect_row(make_rope_table(config_of(16, rope), 10), 9,
             {-1.037439736, -1.089263246, 0.707783408, 1.108322079, 1.136828564, 1.138541171, 1.138626554, 1.138629148},
             {0.469250238, 0.331636208, 0.891919077, 0.260958161, 0.064014136, 0.014177242, 0.002561914, 0.000810149});
  rope.truncate = false;
  expect_row(make_rope_table(config_of(16, rope), 10), 9,
             {-1.037439736, -1.089263246, 0.707783408, 1.101081917, 1.136647371, 1.138553217, 1.138626554, 1.138629148},
             {0.469250238, 0.331636208, 0.891919077, 0.289992423, 0.067154654, 0.013174432, 0.002561914, 0.000810149});
}

TEST(Rope, YarnMscale) {
  RopeConfig rope = {.kind = RopeKind::kYarn,
                     .factor = 40,
                     .original_max_seq = 4096,
                     .beta_fast = 16,
                     .beta_slow = 2,
                     .mscale = 1.0,
                     .mscale_all_dim = 0.7};
  const std::vector<double> cos = {-0.991268366, -1.040785465, 0.676283429, 1.044189064,
                                   1.085947643,  1.087900632,  1.087954580, 1.087954605};
  const std::vector<double> sin = {0.448366205, 0.316876702, 0.852224121, 0.305474103,
                                   0.066052596, 0.010837127, 0.000244790, 0.000077409};
  expect_row(make_rope_table(config_of(16, rope), 10), 9, cos, sin);
  rope.attention_factor = 1;  // given: replaces the formulas
  const RopeTable table = make_rope_table(config_of(16, rope), 1);
  EXPECT_EQ(table.global.cos[0], 1.0f);
}

}  // namespace
}  // namespace qz
