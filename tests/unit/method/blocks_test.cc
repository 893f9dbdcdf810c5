// GGUF's blocks: chosen without a Hessian, solved with one.
#include "method/blocks.h"
#include "method/block_gptq.h"
#include "packed/block_code.h"
#include "unit/method/problem.h"

namespace qz {
namespace {

// tr((W - Q) H (W - Q)^T)
double loss(MatrixView w, const HessianFactor& factor, const QMatrix& q) {
  const Matrix wq = dequantize(q);
  double total = 0;
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t i = 0; i < w.cols; ++i) {
      double along = 0;
      for (int64_t j = 0; j < w.cols; ++j)
        along += static_cast<double>(factor.h.row(i)[j]) *
                 (static_cast<double>(w.row(r)[j]) - static_cast<double>(wq.row(r)[j]));
      total += along * (static_cast<double>(w.row(r)[i]) - static_cast<double>(wq.row(r)[i]));
    }
  return total;
}

QMatrix solve(const Problem& p, const HessianFactor& f, const Scheme& scheme, const GptqOptions& o,
              int32_t threads = 1) {
  auto out = block_gptq(*make_context(threads), p.w.view(), f, p.stats, {}, scheme, o, {});
  EXPECT_TRUE(out.ok()) << out.status().text();
  EXPECT_TRUE(check_qmatrix(out->q).ok()) << check_qmatrix(out->q).text();
  return out->q;
}

TEST(Blocks, EveryStepOfTheSolverPays) {
  const Problem p = make_problem(8, 256);
  GptqOptions o = plain_gptq();
  o.order = Order::kStatic;
  const HessianFactor f = *factor_hessian(*make_context(1), p.stats, o);
  for (const BlockCode& block : block_codes()) {
    SCOPED_TRACE(block.name);
    const Scheme scheme = block_scheme(block);
    const MatrixView w = p.w.view();
    const double rounded = loss(w, f, *round_to_blocks(*make_context(1), w, f.diag.data(), scheme));
    const double greedy = loss(w, f, solve(p, f, scheme, o));
    GptqOptions sweeps = o;
    sweeps.sweeps = 3;
    sweeps.refit = false;
    const double swept = loss(w, f, solve(p, f, scheme, sweeps));
    sweeps.refit = true;
    const QMatrix q = solve(p, f, scheme, sweeps);
    const double refitted = loss(w, f, q);
    EXPECT_LT(greedy, rounded);
    EXPECT_LT(swept, greedy);
    EXPECT_LT(refitted, swept * 1.01);
    std::printf("%-8s rounded 1, greedy %.3f, swept %.3f, refitted %.3f\n", block.name, greedy / rounded,
                swept / rounded, refitted / rounded);
    EXPECT_EQ(hash_qmatrix(solve(p, f, scheme, sweeps, 3)), hash_qmatrix(q));
  }
}

// What is left of the weights themselves. Least squares alone keeps 0.933 in Q2_K, 0.979 in Q3_K.
TEST(Blocks, RoundingDoesNotShrinkTheWeights) {
  const Matrix w = random_matrix(32, 512, 3);
  for (const BlockCode& block : block_codes()) {
    const Matrix back = dequantize(*round_to_blocks(*make_context(1), w.view(), nullptr, block_scheme(block)));
    double kept = 0, all = 0;
    for (int64_t i = 0; i < 32 * 512; ++i) {
      kept += static_cast<double>(w.data()[i] * back.data()[i]);
      all += static_cast<double>(w.data()[i] * w.data()[i]);
    }
    EXPECT_GT(kept / all, block.bits == 2 ? 0.97 : block.bits == 3 ? 0.985 : 0.995) << block.name;
  }
}

TEST(Blocks, ZerosAndConstantsAreKept) {
  Matrix w(3, 256);
  for (int64_t c = 0; c < 256; ++c) w.row(1)[c] = 0.5f, w.row(2)[c] = c < 128 ? 0.0f : -0.25f;
  for (const BlockCode& block : block_codes()) {
    SCOPED_TRACE(block.name);
    auto q = round_to_blocks(*make_context(1), w.view(), nullptr, block_scheme(block));
    ASSERT_TRUE(q.ok()) << q.status().text();
    const Matrix back = dequantize(*q);
    for (int64_t c = 0; c < 256; ++c) EXPECT_EQ(back.row(0)[c], 0) << c;
    // An offset that is subtracted can hold no positive constant.
    for (int64_t c = 0; c < 256; ++c) EXPECT_NEAR(back.row(1)[c], 0.5f, 0.004f) << c;
    for (int64_t c = 0; c < 256; ++c) EXPECT_NEAR(back.row(2)[c], w.row(2)[c], 0.004f) << c;
  }
}

TEST(Blocks, WeightsThatNoScaleHoldsAreANumericError) {
  Matrix w(1, 256);
  w.row(0)[3] = 3e38f;
  for (const BlockCode& block : block_codes())
    EXPECT_EQ(round_to_blocks(*make_context(1), w.view(), nullptr, block_scheme(block)).status().code(), Code::kNumeric)
        << block.name;
}

TEST(Blocks, TheImportanceDecides) {
  Matrix w = random_matrix(1, 256, 5);
  std::vector<float> h(256, 1.0f);
  for (size_t c = 0; c < 256; c += 4) h[c] = 100;
  for (const BlockCode& block : block_codes()) {
    const auto error = [&](const float* importance) {
      const Matrix q = dequantize(*round_to_blocks(*make_context(1), w.view(), importance, block_scheme(block)));
      double sum = 0;
      for (size_t c = 0; c < 256; ++c) {
        const double d = static_cast<double>(w.row(0)[c]) - static_cast<double>(q.row(0)[c]);
        sum += static_cast<double>(h[c]) * d * d;
      }
      return sum;
    };
    EXPECT_LT(error(h.data()), error(nullptr)) << block.name;
  }
}

}  // namespace
}  // namespace qz
