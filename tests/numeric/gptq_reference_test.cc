// The solver against the same algorithm in float64 NumPy (gptq_reference.py), which shares no code with it: whole
// modules, every lever.
#include <gtest/gtest.h>

#include <cmath>

#include "golden/golden.h"
#include "method/gptq.h"
#include "method/target.h"

namespace qz {
namespace {

constexpr int64_t kTokens = 400, kHeld = 48;
constexpr double kEqualCodes = 0.995;     // float32 decides some ties otherwise
constexpr double kObjectiveSlack = 1e-3;  // relative

struct Case {
  const char* name;
  int64_t rows, cols;
  Scheme scheme;
  int32_t min_zero;
  Order order;
  bool search, signed_grid;
  int32_t sweeps;
  bool refit;
  int64_t chain;  // rows that the output metric couples; 0: none
  double drift, residual;
};

Scheme scheme(int32_t bits, int32_t group, bool symmetric, DType scale) {
  return {CodeKind::kInt, bits, group, symmetric, scale};
}

// The table of gptq_reference.py.
const std::vector<Case>& cases() {
  static const std::vector<Case> table = {
      {"greedy", 24, 160, scheme(4, 32, true, DType::kF32), 0, Order::kNone, false, false, 0, false, 0, 0, 0},
      {"search", 24, 160, scheme(4, 64, true, DType::kBF16), 0, Order::kNone, true, true, 0, false, 0, 0, 0},
      {"static", 24, 160, scheme(3, 32, true, DType::kF16), 0, Order::kStatic, true, true, 4, true, 0, 0, 0},
      {"gidx", 24, 160, scheme(4, 32, true, DType::kF16), 0, Order::kGidx, true, true, 2, true, 0, 0, 0},
      {"asym", 24, 160, scheme(2, 16, false, DType::kF16), 1, Order::kStatic, true, false, 3, true, 0, 0, 0},
      {"row", 17, 152, scheme(8, kGroupRow, true, DType::kBF16), 0, Order::kStatic, true, true, 2, true, 0, 0, 0},
      {"tensor", 17, 152, scheme(4, kGroupTensor, true, DType::kF32), 0, Order::kStatic, true, true, 2, true, 0, 0, 0},
      {"ragged", 9, 300, scheme(4, 128, false, DType::kBF16), 0, Order::kStatic, true, true, 2, true, 0, 0, 0},
      {"metric", 40, 160, scheme(3, 32, true, DType::kBF16), 0, Order::kStatic, true, true, 4, true, 16, 0, 0},
      {"chosen", 24, 160, scheme(4, 32, true, DType::kF32), 0, Order::kStatic, true, true, 2, true, 0, kChosen,
       kChosen},
      {"fixed", 24, 160, scheme(4, 32, true, DType::kF32), 0, Order::kGidx, true, true, 2, true, 0, 0.5, 0.25},
  };
  return table;
}

using Doubles = std::vector<double>;  // row-major

// xorshift32: multiples of 2^-15 in [-1, 1).
Doubles draws(uint32_t seed, int64_t n) {
  uint32_t x = 2463534242u + seed;
  Doubles out(static_cast<size_t>(n));
  for (double& v : out) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    v = static_cast<double>(x >> 16) / 32768 - 1;
  }
  return out;
}

Doubles activations(uint32_t seed, int64_t tokens, int64_t cols) {
  const Doubles z = draws(seed, tokens * cols);
  Doubles out(z.size());
  for (int64_t t = 0; t < tokens; t++)
    for (int64_t j = 0; j < cols; j++) {
      auto at = [&](int64_t c) { return z[static_cast<size_t>(t * cols + c)]; };
      const double gain = 0.5 + static_cast<double>(j % 7) / 4;
      out[static_cast<size_t>(t * cols + j)] =
          static_cast<double>(static_cast<float>(gain * (at(j) + 0.75 * at((j + 1) % cols) + 0.5 * at(j / 4))));
    }
  return out;
}

// a^T b over tokens [t0, t1), times `by`.
Matrix product(const Doubles& a, int64_t a_cols, const Doubles& b, int64_t b_cols, int64_t t0, int64_t t1, double by) {
  Matrix out(a_cols, b_cols);
  std::vector<double> sum(static_cast<size_t>(a_cols * b_cols));
  for (int64_t t = t0; t < t1; t++)
    for (int64_t i = 0; i < a_cols; i++)
      for (int64_t j = 0; j < b_cols; j++)
        sum[static_cast<size_t>(i * b_cols + j)] +=
            a[static_cast<size_t>(t * a_cols + i)] * b[static_cast<size_t>(t * b_cols + j)];
  for (size_t i = 0; i < sum.size(); i++) out.data()[i] = static_cast<float>(sum[i] * by);
  return out;
}

Matrix tail(const Doubles& a, int64_t cols, int64_t t0) {
  Matrix out(static_cast<int64_t>(a.size()) / cols - t0, cols);
  for (int64_t i = 0; i < out.rows() * cols; i++)
    out.data()[i] = static_cast<float>(a[static_cast<size_t>(t0 * cols + i)]);
  return out;
}

struct Inputs {
  Matrix w, g;  // g: [rows][chain], as the model measures it
  StageStats stats;
};

Inputs inputs(const Case& c) {
  Inputs in;
  in.w = Matrix(c.rows, c.cols);
  const Doubles u = draws(1, c.rows * c.cols), x = activations(2, kTokens, c.cols);
  for (size_t i = 0; i < u.size(); i++) in.w.data()[i] = static_cast<float>(u[i] * std::fabs(u[i]) / 8);
  const bool target = c.drift != 0 || c.residual != 0;
  const int64_t solving = target ? kTokens - kHeld : kTokens;
  in.stats.cols = c.cols;
  in.stats.tokens = solving;
  in.stats.h = product(x, c.cols, x, c.cols, 0, solving, 1);
  if (target) {
    Doubles dx = activations(5, kTokens, c.cols), dr = activations(6, kTokens, c.rows);
    for (size_t i = 0; i < dx.size(); i++) dx[i] = dx[i] / 8 + x[i] / 16;
    for (int64_t t = 0; t < kTokens; t++)
      for (int64_t r = 0; r < c.rows; r++) {
        double& v = dr[static_cast<size_t>(t * c.rows + r)];
        v = v / 4 + x[static_cast<size_t>(t * c.cols + r)] / 4;
      }
    in.stats.drift = product(dx, c.cols, x, c.cols, 0, solving, 1);
    in.stats.residual = product(dr, c.rows, x, c.cols, 0, solving, 1);
    in.stats.held_x = tail(x, c.cols, solving);
    in.stats.held_dx = tail(dx, c.cols, solving);
    in.stats.held_dr = tail(dr, c.rows, solving);
  }
  if (c.chain > 0) {
    const Doubles gx = activations(3, kTokens, c.rows);
    const Matrix full = product(gx, c.rows, gx, c.rows, 0, kTokens, 1.0 / kTokens);
    in.g = Matrix(c.rows, c.chain);
    for (int64_t r = 0; r < c.rows; r++)
      for (int64_t s = r / c.chain * c.chain; s < std::min(c.rows, (r / c.chain + 1) * c.chain); s++)
        in.g.row(r)[s % c.chain] = full.row(r)[s];
  }
  return in;
}

GptqOptions options(const Case& c) {
  GptqOptions o;
  o.order = c.order;
  o.search = c.search;
  o.signed_grid = c.signed_grid;
  o.sweeps = c.sweeps;
  o.refit = c.refit;
  o.damp = 0.05;
  o.metric_ridge = 0.03;
  o.drift = c.drift;
  o.residual = c.residual;
  return o;
}

// tr(G (T - Q) H (T - Q)^T) with the damped H, in natural order; G with its ridge, block by block.
double objective(const Case& c, const Inputs& in, MatrixView target, const QMatrix& q) {
  const int64_t n = c.cols, chain = c.chain ? c.chain : 1;
  double trace_h = 0, trace_g = 0;
  for (int64_t j = 0; j < n; j++) trace_h += static_cast<double>(in.stats.h.row(j)[j]);
  for (int64_t r = 0; r < c.rows && c.chain; r++) trace_g += static_cast<double>(in.g.row(r)[r % chain]);
  const Matrix wq = dequantize(q);
  Doubles e(static_cast<size_t>(c.rows * n)), eh(e.size());
  const double tokens = static_cast<double>(in.stats.tokens);
  for (int64_t r = 0; r < c.rows; r++) {
    double* er = e.data() + r * n;
    for (int64_t j = 0; j < n; j++) er[j] = static_cast<double>(target.row(r)[j]) - static_cast<double>(wq.row(r)[j]);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++)
        eh[static_cast<size_t>(r * n + j)] += er[i] * (static_cast<double>(in.stats.h.row(i)[j]) / tokens +
                                                       (i == j ? 0.05 * trace_h / tokens / static_cast<double>(n) : 0));
  }
  double total = 0;
  for (int64_t r = 0; r < c.rows; r++)
    for (int64_t s = r / chain * chain; s < std::min(c.rows, (r / chain + 1) * chain); s++) {
      double weight = c.chain ? static_cast<double>(in.g.row(r)[s % chain]) : 1;
      if (c.chain && r == s) weight += 0.03 * trace_g / static_cast<double>(c.rows);
      for (int64_t j = 0; j < n; j++)
        total += weight * e[static_cast<size_t>(r * n + j)] * eh[static_cast<size_t>(s * n + j)];
    }
  return total;
}

const Tensors& fixtures() {
  static const Tensors all = read_tensors("tests/data/numeric/gptq.safetensors");
  return all;
}

// The reference's result as a canonical matrix.
QMatrix reference(const Case& c, const std::vector<int32_t>& g_idx) {
  const std::string name = c.name;
  QMatrix q;
  q.rows = c.rows;
  q.cols = c.cols;
  q.scheme = c.scheme;
  q.codes = values<uint8_t>(fixtures().at(name + ".codes"));
  q.scales = values<float>(fixtures().at(name + ".scales"));
  if (!c.scheme.symmetric) q.zeros = values<uint8_t>(fixtures().at(name + ".zeros"));
  if (c.scheme.group == kGroupTensor) q.scales.resize(1);
  q.g_idx = g_idx;
  return q;
}

class Reference : public testing::TestWithParam<size_t> {};

TEST_P(Reference, IsMet) {
  const Case& c = cases()[GetParam()];
  const Inputs in = inputs(c);
  const ContextPtr context = make_context(2);
  const auto factor = factor_hessian(*context, in.stats, options(c));
  ASSERT_TRUE(factor.ok()) << factor.status().text();
  const auto metric = make_row_metric(*context, in.g.view(), 0.03);
  ASSERT_TRUE(metric.ok()) << metric.status().text();
  const auto held = held_out(*context, in.w.view(), in.stats, nullptr);
  ASSERT_TRUE(held.ok()) << held.status().text();
  const auto solved = gptq(*context, in.w.view(), *factor, in.stats, *held, c.scheme, options(c), *metric, c.min_zero);
  ASSERT_TRUE(solved.ok()) << solved.status().text();

  const QMatrix want = reference(c, solved->q.g_idx);
  ASSERT_TRUE(check_qmatrix(want).ok()) << check_qmatrix(want).text();
  ASSERT_TRUE(check_qmatrix(solved->q).ok()) << check_qmatrix(solved->q).text();
  size_t equal = 0;
  for (size_t i = 0; i < want.codes.size(); i++) equal += want.codes[i] == solved->q.codes[i];
  EXPECT_GE(static_cast<double>(equal), kEqualCodes * static_cast<double>(want.codes.size())) << c.name;

  Matrix target = in.w;
  if (c.drift != 0) {
    const std::vector<float> t = values<float>(fixtures().at(std::string(c.name) + ".target"));
    ASSERT_EQ(t.size(), static_cast<size_t>(c.rows * c.cols));
    std::copy(t.begin(), t.end(), target.data());
    const std::vector<float> strengths = values<float>(fixtures().at(std::string(c.name) + ".strengths"));
    EXPECT_NEAR(solved->drift, static_cast<double>(strengths[0]), 1e-3);
    EXPECT_NEAR(solved->residual, static_cast<double>(strengths[1]), 1e-3);
    const auto made = make_target(*context, in.w.view(), *factor, in.stats, *held, options(c), nullptr);
    ASSERT_TRUE(made.ok());
    for (int64_t r = 0; r < c.rows; r++)
      for (int64_t j = 0; j < c.cols; j++)
        ASSERT_NEAR(made->w.row(r)[j], target.row(r)[factor->natural[static_cast<size_t>(j)]], 2e-5f) << r << " " << j;
  }
  const double ours = objective(c, in, target.view(), solved->q), theirs = objective(c, in, target.view(), want);
  EXPECT_GT(theirs, 0);
  EXPECT_NEAR(ours / theirs, 1, kObjectiveSlack) << c.name;
  RecordProperty("equal_codes", std::to_string(static_cast<double>(equal) / static_cast<double>(want.codes.size())));
  RecordProperty("objective_ratio", std::to_string(ours / theirs));
}

INSTANTIATE_TEST_SUITE_P(Gptq, Reference, testing::Range<size_t>(0, cases().size()),
                         [](const auto& which) { return std::string(cases()[which.param].name); });

}  // namespace
}  // namespace qz
