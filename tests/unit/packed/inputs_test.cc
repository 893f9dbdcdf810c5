#include "packed/inputs.h"

#include <gtest/gtest.h>

#include <cmath>

namespace qz {
namespace {

QMatrix layer(const char* scheme) {
  QMatrix q;
  q.cols = 4;
  q.scheme = *scheme_preset(scheme);
  return q;
}

std::vector<float> rounded(const QMatrix& q, const std::vector<float>& x) {
  std::vector<float> out(x.size());
  const int64_t rows = static_cast<int64_t>(x.size()) / q.cols;
  quantize_inputs(q, {x.data(), rows, q.cols, q.cols}, out.data());
  return out;
}

TEST(Inputs, EachTokenHasItsScale) {
  const std::vector<float> out = rounded(layer("w8a8"), {127.5f, 1.4f, -0.6f, 0, 12.75f, 1.4f, -12.75f, 0});
  EXPECT_EQ(out[0], 127);  // 127.5 rounds to 128, and 127 is the last
  EXPECT_EQ(out[1], 1);
  EXPECT_EQ(out[2], -1);
  EXPECT_FLOAT_EQ(out[5], 1.4f);
  EXPECT_FLOAT_EQ(out[6], -12.8f);
  EXPECT_EQ(rounded(layer("w8a8"), {0, 0, 0, 0}), std::vector<float>(4));
}

TEST(Inputs, AStoredScaleClips) {
  QMatrix q = layer("w8a8s");
  q.input_scale = 0.5f;
  EXPECT_EQ(rounded(q, {100, -100, 0.6f, 0.2f}), (std::vector<float>{63.5f, -64, 0.5f, 0}));
}

TEST(Inputs, Fp8KeepsThreeBits) {
  QMatrix q = layer("fp8tensor-a8s");
  q.input_scale = 1;
  EXPECT_EQ(rounded(q, {17, 1000, -0.3f, 0}), (std::vector<float>{16, 448, -0.3125f, 0}));
}

// LLM.int8(), section 3.2: a column with one value of 6 or more stays as it is for all tokens.
TEST(Inputs, OutlierColumnsStay) {
  const std::vector<float> x = {6.0f, 1.27f, 0.333f, 0, 0.011f, 2.54f, 0.333f, 0};
  const std::vector<float> out = rounded(layer("llm-int8"), x);
  EXPECT_EQ(out[0], 6.0f);
  EXPECT_EQ(out[4], 0.011f);
  EXPECT_FLOAT_EQ(out[2], 0.33f);
  EXPECT_FLOAT_EQ(out[6], 0.34f);  // 16.65 parts of 0.02
  QMatrix plain = layer("llm-int8");
  plain.scheme.activations = Activations::kToken;
  EXPECT_NE(rounded(plain, x)[4], 0.011f);
}

}  // namespace
}  // namespace qz
