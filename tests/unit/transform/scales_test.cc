// Scales against NumPy, on two layers of three and two rows that read six columns in groups of three:
//   W = concatenate(W1, W2); rel = abs(W).reshape(5, 2, 3); w = (rel / (rel.max(2, keepdims=True) + 1e-6)).reshape(5,
//   6).mean(0) AWQ: s = maximum(a**r / (w**(1 - r) + 1e-4) if duo else a**r, 1e-4); s /= sqrt(s.max() * s.min())
//   SmoothQuant: s = maximum(most**alpha / abs(W).max(0)**(1 - alpha), 1e-5)
#include <gtest/gtest.h>

#include <cmath>

#include "transform/list.h"

namespace qz {
namespace {

const std::vector<float> kFirst = {-0.008f, -0.057f, 0.174f,  0.021f, -0.101f, -0.079f, -0.006f, 0.23f,  -0.018f,
                                   0.013f,  0.051f,  -0.004f, 0.228f, -0.053f, 0.074f,  0.016f,  0.062f, -0.118f};
const std::vector<float> kSecond = {0.354f, -0.024f, 0.007f, -0.187f, -0.146f, 0.113f,
                                    0.197f, 0.151f,  0.242f, 0.143f,  0.006f,  0.167f};

// The error of s is its distance to `wanted`; every s that is tried is kept.
struct Tried {
  Place place;
  std::vector<Scales> tried;
  explicit Tried(Scales wanted) {
    place.linears = {{kFirst.data(), 3, 6, 6}, {kSecond.data(), 2, 6, 6}};
    place.groups = {3, 3};
    place.mean = {0.7326f, 0.1647f, 4.2435f, 0.0463f, 0.8191f, 0.311f};
    place.most = {2.8282f, 0.5111f, 11.3951f, 0.1661f, 2.4631f, 1.0805f};
    place.error = [this, wanted](const Scales& s) -> Result<double> {
      tried.push_back(s);
      double sum = 0;
      for (size_t i = 0; i < s.size(); ++i) sum += std::pow(static_cast<double>(s[i] - wanted[i]), 2);
      return sum;
    };
  }
};

void expect_near(const Scales& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(static_cast<double>(a[i]), b[i], 2e-5) << i;
}

Scales scales_of(TransformKind kind, const Place& place, const TransformOptions& options) {
  auto s = find_transform(kind)->scales(place, options);
  EXPECT_TRUE(s.ok()) << s.status().text();
  return s.ok() ? *s : Scales();
}

TEST(Awq, TriesTheRatiosOfTheText) {
  TransformOptions options;
  options.grid = 4;
  Tried duo({1.18f, 0.63f, 3.1f, 0.32f, 1.16f, 0.7f});
  const Scales best = scales_of(TransformKind::kAwq, duo.place, options);
  ASSERT_EQ(duo.tried.size(), 5u);
  expect_near(duo.tried[0], {1, 1, 1, 1, 1, 1});
  expect_near(duo.tried[1], {0.967832, 1.240399, 1.152971, 1.137897, 0.83581, 0.806192});
  expect_near(duo.tried[2], {0.999267, 0.828823, 1.767711, 0.565703, 0.920511, 0.703287});
  expect_near(duo.tried[3], {1.181748, 0.63434, 3.104308, 0.322133, 1.161215, 0.702732});
  expect_near(duo.tried[4], {1.397556, 0.485492, 5.451528, 0.183435, 1.464866, 0.702179});
  EXPECT_EQ(best, duo.tried[3]);

  options.duo = false;
  Tried plain({1, 1, 1, 1, 1, 1});
  expect_near(scales_of(TransformKind::kAwq, plain.place, options), {1, 1, 1, 1, 1, 1});
  expect_near(plain.tried[2], {1.133845, 0.780747, 1.759008, 0.568502, 1.165926, 0.915223});
  expect_near(plain.tried[4], {1.457675, 0.475916, 5.442566, 0.183737, 1.584942, 0.766621});
}

TEST(SmoothQuant, FollowsEquationFour) {
  TransformOptions options;
  options.alpha = 0.5;
  Tried fixed({1, 1, 1, 1, 1, 1});
  expect_near(scales_of(TransformKind::kSmoothQuant, fixed.place, options),
              {2.826529, 1.490696, 6.862010, 0.942462, 4.107378, 2.543631});
  EXPECT_TRUE(fixed.tried.empty());

  Tried searched({2.8f, 0.8f, 9.3f, 0.3f, 3.0f, 1.5f});
  expect_near(scales_of(TransformKind::kSmoothQuant, searched.place, {}),
              {2.827531, 0.784258, 9.302751, 0.332604, 3.022144, 1.521796});  // alpha 0.8
}

TEST(Transforms, TakeDeadColumnsAndSilence) {
  Tried t({1, 1, 1, 1, 1, 1});
  t.place.mean = t.place.most = std::vector<float>(6, 0.0f);
  std::vector<float> zeros(18, 0.0f);
  t.place.linears = {{zeros.data(), 3, 6, 6}};
  t.place.groups = {6};
  for (const Transform& transform : transforms()) {
    TransformOptions options;
    options.alpha = 0.5;
    for (const float v : scales_of(transform.kind, t.place, options)) {
      EXPECT_TRUE(std::isfinite(v)) << transform.name;
      EXPECT_GT(v, 0) << transform.name;
    }
  }
}

TEST(Transforms, GiveColumnsThatShareAnOutputOneScale) {
  Tried t({1, 1, 3, 1, 1, 3});
  t.place.shared = {7, 4, 2, 7, 4, 2};
  share_mean(t.place.shared, &t.place.mean);
  share_most(t.place.shared, &t.place.most);
  EXPECT_FLOAT_EQ(t.place.mean[0], (0.7326f + 0.0463f) / 2);
  EXPECT_FLOAT_EQ(t.place.most[5], 11.3951f);
  for (const Transform& transform : transforms()) {
    t.tried.clear();
    scales_of(transform.kind, t.place, {});
    for (const Scales& s : t.tried)
      for (size_t c = 0; c < 3; ++c) EXPECT_EQ(s[c], s[c + 3]) << transform.name;
  }
}

}  // namespace
}  // namespace qz
