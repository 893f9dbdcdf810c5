// GPTQ's operations against double precision.
#pragma once
#include <algorithm>

#include "opened.h"

namespace qz::check {

inline qz_tensor dense_of(const Plugin& p, const Array& a, int64_t rows, int64_t cols, qz_dtype dtype) {
  return matrix_of(p, a.data(), rows, cols, cols, dtype);
}

// h + runs * x^T x below the diagonal; "" or what is wrong.
inline std::string wrong_hessian(const std::vector<float>& x, int64_t m, int64_t n, const std::vector<float>& before,
                                 const std::vector<float>& found, int runs) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const auto at = static_cast<size_t>(i * n + j);
      double sum = 0, size = 0;
      for (int64_t t = 0; t < m; ++t) {
        const double term = double{x[static_cast<size_t>(t * n + i)]} * double{x[static_cast<size_t>(t * n + j)]};
        sum += term, size += std::fabs(term);
      }
      const double want = double{before[at]} + runs * sum;
      if (!(std::fabs(double{found[at]} - want) <= runs * size * 0x1p-18 + std::fabs(want) * 0x1p-20 + 1e-6))
        return "row " + std::to_string(i) + ", column " + std::to_string(j) + ": " + std::to_string(found[at]) +
               ", expected " + std::to_string(want);
    }
  }
  return "";
}

// A problem for GPTQ_COLUMNS: targets, a factor as a Cholesky one is (positive diagonal), scales, an order.
struct Columns {
  int64_t rows, cols, group, groups;
  int32_t most;
  std::vector<float> target, lower, scale, zero;
  std::vector<int32_t> order;

  Columns(int64_t r, int64_t c, int64_t g, int32_t m, bool shuffled, uint32_t seed)
      : rows(r), cols(c), group(g), groups((c + g - 1) / g), most(m) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < rows * cols; ++i) target.push_back(0.05f * normal(random));
    lower.assign(static_cast<size_t>(cols * cols), NAN);  // above the diagonal nothing may be read
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j <= i; ++j)
        lower[static_cast<size_t>(i * cols + j)] = i == j ? 1.0f + 0.1f * std::fabs(normal(random))
                                                          : 0.5f * normal(random) / std::sqrt(static_cast<float>(cols));
    for (int64_t i = 0; i < rows * groups; ++i) {
      scale.push_back((0.15f + 0.01f * static_cast<float>(random() % 9)) / static_cast<float>(most));
      zero.push_back(static_cast<float>(most / 2 + static_cast<int32_t>(random() % 2)));
    }
    for (int64_t i = 0; i < cols; ++i) order.push_back(static_cast<int32_t>(cols - 1 - i));
    if (shuffled) std::shuffle(order.begin(), order.end(), random);
  }

  // The loop in double precision: codes in the target's order.
  std::vector<uint8_t> solve() const {
    std::vector<uint8_t> codes(target.size());
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<double> sum(static_cast<size_t>(cols));
      for (int64_t j = cols - 1; j >= 0; --j) {
        const float* l = lower.data() + j * cols;
        const int64_t c = order[static_cast<size_t>(j)];
        const double s = double{scale[static_cast<size_t>(r * groups + c / group)]};
        const double z = double{zero[static_cast<size_t>(r * groups + c / group)]};
        const double t = double{target[static_cast<size_t>(r * cols + c)]};
        const double aim = t + sum[static_cast<size_t>(j)] / double{l[j]};
        const double code = std::nearbyint(std::clamp(aim / s + z, 0.0, static_cast<double>(most)));
        codes[static_cast<size_t>(r * cols + c)] = static_cast<uint8_t>(code);
        for (int64_t k = 0; k < j; ++k) sum[static_cast<size_t>(k)] += (t - s * (code - z)) * double{l[k]};
      }
    }
    return codes;
  }

  // "" or what is wrong with codes and errors that a backend found. Roundings may turn a code here and there, and with
  // it those of its row that follow.
  std::string wrong(const std::vector<uint8_t>& codes, const std::vector<float>& errors) const {
    const std::vector<uint8_t> want = solve();
    int64_t other = 0;
    for (size_t i = 0; i < want.size(); ++i) other += codes[i] != want[i];
    if (static_cast<double>(other) > 0.01 * static_cast<double>(want.size()) + 1)
      return std::to_string(other) + " of " + std::to_string(want.size()) + " codes differ";
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < cols; ++j) {
        const int64_t c = order[static_cast<size_t>(j)];
        const auto g = static_cast<size_t>(r * groups + c / group);
        const auto code = static_cast<float>(codes[static_cast<size_t>(r * cols + c)]);
        const float e = target[static_cast<size_t>(r * cols + c)] - scale[g] * (code - zero[g]);
        if (!(std::fabs(errors[static_cast<size_t>(r * cols + j)] - e) <= 1e-6f))
          return "the error of row " + std::to_string(r) + ", column " + std::to_string(c);
      }
    }
    return "";
  }
};

}  // namespace qz::check
