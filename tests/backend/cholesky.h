// Positive definite matrices for the factorization, and what is wrong with what a backend makes of them: in double
// precision.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace qz::check {

// a = G G^T / n + I / 4 on and below the diagonal, NaN above it: nothing there may be read.
struct Square {
  int64_t n;
  std::vector<float> a;

  Square(int64_t size, uint32_t seed) : n(size), a(static_cast<size_t>(size * size), NAN) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> g(a.size());
    for (float& v : g) v = normal(random);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        const float *x = g.data() + i * n, *y = g.data() + j * n;
        float sum = 0;
        for (int64_t k = 0; k < n; ++k) sum += x[k] * y[k];
        at(&a, i, j) = sum / static_cast<float>(n) + (i == j ? 0.25f : 0.0f);
      }
    }
  }
  float& at(std::vector<float>* m, int64_t i, int64_t j) const { return (*m)[static_cast<size_t>(i * n + j)]; }
  // Either triangle.
  double value(int64_t i, int64_t j) const { return double{a[static_cast<size_t>(i > j ? i * n + j : j * n + i)]}; }

  // "" or what is wrong with a factor; of large ones some rows.
  std::string wrong_factor(const std::vector<float>& l) const {
    for (int64_t i = 0; i < n; i += std::max<int64_t>(1, n / 300)) {
      for (int64_t j = 0; j <= i; ++j) {
        const float *x = l.data() + i * n, *y = l.data() + j * n;
        double sum = 0, size = 0;
        for (int64_t k = 0; k <= j; ++k)
          sum += double{x[k]} * double{y[k]}, size += std::fabs(double{x[k]} * double{y[k]});
        if (!(std::fabs(sum - value(i, j)) <= 0x1p-16 * (size + 1)))
          return "row " + std::to_string(i) + ", column " + std::to_string(j) + " of L L^T: " + std::to_string(sum) +
                 ", expected " + std::to_string(value(i, j));
      }
    }
    return "";
  }

  // "" or what is wrong with y = x a^-1, both [m][n]: what y a leaves of x.
  std::string wrong_solution(const std::vector<float>& x, const std::vector<float>& y, int64_t m) const {
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t j = 0; j < n; j += std::max<int64_t>(1, n / 300)) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k < n; ++k) {
          const double term = double{y[static_cast<size_t>(r * n + k)]} * value(k, j);
          sum += term, size += std::fabs(term);
        }
        const double want = double{x[static_cast<size_t>(r * n + j)]};
        if (!(std::fabs(sum - want) <= 0x1p-14 * (size + 1)))
          return "row " + std::to_string(r) + ", column " + std::to_string(j) + ": " + std::to_string(sum) +
                 ", expected " + std::to_string(want);
      }
    }
    return "";
  }
};

}  // namespace qz::check
