#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "each_engine.h"
#include "kernels/ops.h"

namespace qz {
namespace {

struct Case {
  int64_t first, queries, head_dim, window;
  int64_t value_dim = 0;  // 0: head_dim
  double cap = 0, slope = 0;
  bool causal = true;
};

// The definition, in float64; and beside the library's answer.
void check(const Case& c) {
  SCOPED_TRACE("first " + std::to_string(c.first) + ", queries " + std::to_string(c.queries) + ", head_dim " +
               std::to_string(c.head_dim) + ", window " + std::to_string(c.window));
  const int64_t width = c.value_dim ? c.value_dim : c.head_dim;
  const int64_t keys = c.first + c.queries, qs = c.head_dim + 3, ks = 2 * c.head_dim + 1, vs = width + 5,
                os = width + 2;
  const auto q = normal(c.queries * qs, 1), k = normal(keys * ks, 2), v = normal(keys * vs, 3);
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  std::vector<float> scratch(static_cast<size_t>(keys) + 1, 77.0f), out(static_cast<size_t>(c.queries * os), 77.0f);
  const HeadShape shape = {
      c.head_dim, width,   static_cast<float>(scale), static_cast<float>(c.cap), static_cast<float>(c.slope),
      c.window,   c.causal};
  attention_head(shape, q.data(), qs, k.data(), ks, v.data(), vs, c.first, c.queries, scratch.data(), out.data(), os);
  EXPECT_EQ(scratch.back(), 77.0f);
  // Queries, keys, weights and values in bfloat16: the result moves by a few of its roundings.
  HeadShape fast_shape = shape;
  fast_shape.products = Products::kFast;
  std::vector<float> fast(out.size(), 77.0f);
  attention_head(fast_shape, q.data(), qs, k.data(), ks, v.data(), vs, c.first, c.queries, scratch.data(), fast.data(),
                 os);
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(fast[i], out[i], 0.05) << "fast, element " << i;
  for (int64_t i = 0; i < c.queries; ++i) {
    const int64_t last = c.causal ? c.first + i : keys - 1;
    const int64_t begin = c.window ? std::max<int64_t>(0, c.first + i - c.window + 1) : 0;
    std::vector<double> p;
    double sum = 0;
    for (int64_t j = begin; j <= last; ++j) {
      double score = 0;
      for (int64_t d = 0; d < c.head_dim; ++d) score += static_cast<double>(q[i * qs + d]) * k[j * ks + d];
      score *= scale;
      if (c.cap > 0) score = c.cap * std::tanh(score / c.cap);
      p.push_back(std::exp(score + c.slope * static_cast<double>(j - last)));
      sum += p.back();
    }
    for (int64_t d = 0; d < width; ++d) {
      double want = 0;
      for (int64_t j = begin; j <= last; ++j) want += p[j - begin] / sum * v[j * vs + d];
      ASSERT_NEAR(out[i * os + d], want, 2e-6) << "query " << i << ", element " << d;
    }
    for (int64_t d = width; d < os; ++d) ASSERT_EQ(out[i * os + d], 77.0f);
  }
}

TEST(AttentionTest, EveryHeadSize) {
  for_each_engine([] {
    for (const int64_t head_dim : {1, 8, 16, 24, 32, 64, 80, 128, 192, 256, 300}) {
      for (const int64_t queries : {1, 3, 4, 70}) check({5, queries, head_dim, 0});
    }
  });
}

TEST(AttentionTest, BlocksOfQueriesAndKeys) {
  for_each_engine([] {
    for (const int64_t first : {0, 1, 63, 64, 200}) {
      for (const int64_t queries : {1, 2, 5, 64, 95, 96, 97, 250}) check({first, queries, 16, 0});
    }
  });
}

TEST(AttentionTest, SlidingWindow) {
  for_each_engine([] {
    for (const int64_t window : {1, 2, 10, 63, 64, 65, 1000}) {
      for (const int64_t first : {0, 3, 130}) {
        for (const int64_t queries : {1, 3, 40, 200}) check({first, queries, 24, window});
      }
    }
  });
}

TEST(AttentionTest, ValuesOfAnotherWidth) {
  for_each_engine([] {
    for (const int64_t queries : {1, 5, 130}) {
      check({3, queries, 24, 0, 16});
      check({0, queries, 16, 7, 200});
    }
  });
}

TEST(AttentionTest, CapAndSlope) {
  for_each_engine([] {
    for (const int64_t queries : {1, 5, 130}) {
      check({3, queries, 24, 0, 0, 0.7, 0});
      check({3, queries, 24, 0, 0, 0, 0.25});
      check({0, queries, 24, 9, 0, 0.7, 0.0625});
    }
  });
}

TEST(AttentionTest, AllKeysAreSeen) {
  for_each_engine([] {
    for (const int64_t queries : {1, 3, 64, 130}) check({0, queries, 24, 0, 0, 0, 0, false});
  });
}

// Scores far beyond what exp can hold, rising and falling along the keys: only differences may matter.
TEST(AttentionTest, LargeScoresDoNotOverflow) {
  for_each_engine([] {
    const int64_t n = 200;
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> q(n, 1.0f), k(n), v(n), out(n), scratch(n);
      for (int64_t i = 0; i < n; ++i) {
        k[i] = sign * 1000.0f * static_cast<float>(i);
        v[i] = static_cast<float>(i);
      }
      attention_head({1, 1}, q.data(), 1, k.data(), 1, v.data(), 1, 0, n, scratch.data(), out.data(), 1);
      for (int64_t i = 0; i < n; ++i) EXPECT_EQ(out[i], sign > 0 ? static_cast<float>(i) : 0.0f);
    }
  });
}

}  // namespace
}  // namespace qz
