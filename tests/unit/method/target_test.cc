#include "method/target.h"

#include <limits>

#include "unit/method/problem.h"

namespace qz {
namespace {

// One input in two streams: x, and x~ = x + dx, where dx partly follows from x; and a residual stream that lacks dr.
struct TwoStreams {
  Matrix w;
  StageStats stats;
};

TwoStreams two_streams(int64_t rows, int64_t cols, float drift, float residual, int64_t hidden) {
  TwoStreams s;
  s.w = random_matrix(rows, cols, 1, 0.1f);
  const Matrix x = random_inputs(4 * cols, cols, 2), noise = random_matrix(4 * cols, cols, 4, 0.05f);
  const Matrix mix = random_matrix(cols, cols, 5, 0.3f / std::sqrt(static_cast<float>(cols)));
  const Matrix push = random_matrix(cols, hidden, 6, 0.3f / std::sqrt(static_cast<float>(cols)));
  Matrix dx = noise, dr = random_matrix(4 * cols, hidden, 7, 0.05f);
  const ContextPtr context = make_context(1);
  EXPECT_TRUE(gemm_nn(*context, x.view(), mix.view(), drift, dx.data(), cols).ok());
  EXPECT_TRUE(gemm_nn(*context, x.view(), push.view(), residual, dr.data(), hidden).ok());
  s.stats.cols = cols;
  s.stats.tokens = x.rows();
  s.stats.h = gram(x, x);
  s.stats.drift = gram(dx, x);
  s.stats.residual = gram(dr, x);
  s.stats.held_x = x;  // the same tokens judge: the fit is then exact
  s.stats.held_dx = dx;
  s.stats.held_dr = dr;
  return s;
}

HeldOut judged(MatrixView w, const StageStats& stats) { return *held_out(*make_context(1), w, stats, nullptr); }

double error_of(MatrixView w, MatrixView wq, const StageStats& stats) {
  return *held_out_error(*make_context(1), w, wq, stats, judged(w, stats), nullptr);
}

GptqOptions with(double drift, double residual, Order order = Order::kGidx) {
  GptqOptions o = plain_gptq();
  o.damp = 1e-5;
  o.order = order;
  o.drift = drift;
  o.residual = residual;
  return o;
}

Target target_of(const TwoStreams& s, const GptqOptions& o) {
  const auto f = factor_hessian(*make_context(1), s.stats, o);
  EXPECT_TRUE(f.ok()) << f.status().text();
  auto t = make_target(*make_context(2), s.w.view(), *f, s.stats, judged(s.w.view(), s.stats), o, nullptr);
  EXPECT_TRUE(t.ok()) << t.status().text();
  return t.ok() ? std::move(*t) : Target();
}

double error_of(const TwoStreams& s, const Target& t, const GptqOptions& o) {
  const auto f = factor_hessian(*make_context(1), s.stats, o);
  Matrix natural(t.w.rows(), t.w.cols());
  for (int64_t r = 0; r < t.w.rows(); r++)
    for (int64_t c = 0; c < t.w.cols(); c++) natural.row(r)[f->natural[static_cast<size_t>(c)]] = t.w.row(r)[c];
  return error_of(s.w.view(), natural.view(), s.stats);
}

TEST(Target, WithoutASecondStreamItIsTheWeight) {
  TwoStreams s = two_streams(12, 32, 1, 1, 12);
  s.stats.drift = s.stats.residual = Matrix();
  const GptqOptions o = with(kChosen, kChosen, Order::kNone);
  const Target t = target_of(s, o);
  EXPECT_EQ(t.drift, 0);
  EXPECT_EQ(t.residual, 0);
  for (int64_t i = 0; i < 12 * 32; i++) EXPECT_EQ(t.w.data()[i], s.w.data()[i]);
  EXPECT_EQ(target_of(two_streams(12, 32, 1, 1, 12), with(0, 0)).drift, 0);
}

// With damping near zero, full strength is the least-squares answer: W* x comes as close to W x~ + (r~ - r) as any
// matrix can. Moving a single weight either way makes it worse.
TEST(Target, FullStrengthIsTheLeastSquaresFit) {
  const TwoStreams s = two_streams(6, 24, 1, 1, 6);
  const GptqOptions o = with(1, 1, Order::kNone);
  Target t = target_of(s, o);
  const double best = error_of(s, t, o);
  EXPECT_LT(best, 0.5 * error_of(s, target_of(s, with(0, 0, Order::kNone)), o));
  for (int64_t i = 0; i < 6 * 24; i += 5)
    for (const float by : {-0.02f, 0.02f}) {
      const float old = t.w.data()[i];
      t.w.data()[i] += by;
      EXPECT_GT(error_of(s, t, o), best) << i;
      t.w.data()[i] = old;
    }
}

TEST(Target, ChosenStrengthsBeatAnyGridOfStrengths) {
  struct Row {
    float drift, residual;  // how much of the solving tokens' difference the judging tokens have
  };
  for (const Row& row : {Row{0.6f, 0.3f}, {0.6f, -0.4f}, {-0.5f, 0.5f}, {2, 0.5f}, {0.5f, 2}, {3, 3}, {-1, -1}}) {
    TwoStreams s = two_streams(10, 40, 1, 0.5f, 10);
    for (int64_t i = 0; i < s.stats.held_dx.rows() * 40; i++) s.stats.held_dx.data()[i] *= row.drift;
    for (int64_t i = 0; i < s.stats.held_dr.rows() * 10; i++) s.stats.held_dr.data()[i] *= row.residual;
    const GptqOptions o = with(kChosen, kChosen);
    const Target t = target_of(s, o);
    if (row.drift == 0.6f && row.residual == 0.3f) {  // inside the square: nearly the shares themselves
      EXPECT_NEAR(t.drift, 0.6, 0.1);
      EXPECT_NEAR(t.residual, 0.3, 0.1);
    }
    EXPECT_TRUE(t.drift >= 0 && t.drift <= 1 && t.residual >= 0 && t.residual <= 1);
    const double best = error_of(s, t, o);
    for (double a = 0; a <= 1; a += 0.25)
      for (double b = 0; b <= 1; b += 0.25)
        EXPECT_LE(best, error_of(s, target_of(s, with(a, b)), with(a, b)) * (1 + 1e-4)) << a << " " << b;
    // One strength given, the other chosen: the best for the given one.
    const GptqOptions half = with(0.5, kChosen), other = with(kChosen, 0.5);
    const Target u = target_of(s, half), v = target_of(s, other);
    EXPECT_EQ(u.drift, 0.5);
    EXPECT_EQ(v.residual, 0.5);
    for (double c = 0; c <= 1; c += 0.25) {
      EXPECT_LE(error_of(s, u, half), error_of(s, target_of(s, with(0.5, c)), half) * (1 + 1e-4)) << c;
      EXPECT_LE(error_of(s, v, other), error_of(s, target_of(s, with(c, 0.5)), other) * (1 + 1e-4)) << c;
    }
  }
}

TEST(Target, ModulesThatDoNotWriteTheResidualStreamIgnoreIt) {
  const TwoStreams s = two_streams(12, 32, 1, 1, 20);  // hidden is 20, the module has 12 rows
  const Target t = target_of(s, with(0, 1));
  EXPECT_EQ(t.residual, 0);
  EXPECT_EQ(error_of(s, t, with(0, 1)), error_of(s, target_of(s, with(0, 0)), with(0, 0)));
}

TEST(Target, NaNIsANumericError) {
  TwoStreams s = two_streams(4, 16, 1, 1, 4);
  s.stats.drift.row(3)[3] = std::numeric_limits<float>::quiet_NaN();
  const auto f = factor_hessian(*make_context(1), s.stats, with(1, 0));
  EXPECT_EQ(make_target(*make_context(1), s.w.view(), *f, s.stats, judged(s.w.view(), s.stats), with(1, 0), nullptr)
                .status()
                .code(),
            Code::kNumeric);
}

TEST(HeldOutError, IsTheRelativeMeanSquare) {
  StageStats s;
  s.cols = 2;
  s.held_x = Matrix(2, 2);
  s.held_x.row(0)[0] = 1;
  s.held_x.row(1)[1] = 2;
  Matrix w(1, 2), wq(1, 2);
  w.row(0)[0] = 3;  // outputs 3 and 2
  w.row(0)[1] = 1;
  wq.row(0)[0] = 2.5f;  // outputs 2.5 and 2.4
  wq.row(0)[1] = 1.2f;
  EXPECT_NEAR(error_of(w.view(), wq.view(), s), (0.25 + 0.16) / 13, 1e-7);
  s.held_dx = Matrix(2, 2);
  s.held_dx.row(0)[0] = 1;  // the original's outputs are 6 and 2
  EXPECT_NEAR(error_of(w.view(), wq.view(), s), (3.5 * 3.5 + 0.16) / 40, 1e-6);
  s.residual = Matrix(1, 2);
  s.held_dr = Matrix(2, 1);
  s.held_dr.row(1)[0] = 1;  // and the stream lacks 0 and 1
  EXPECT_NEAR(error_of(w.view(), wq.view(), s), (3.5 * 3.5 + 0.36) / 40, 1e-6);
  s.held_x = Matrix();
  EXPECT_TRUE(std::isnan(error_of(w.view(), wq.view(), s)));
}

}  // namespace
}  // namespace qz
