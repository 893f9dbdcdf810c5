// cuda/factor.h on the host, in double precision, for the plug-in whose kernels run on the emulator.
#include "factor.h"

#include <cmath>
#include <cstdlib>
#include <vector>

namespace qz::cuda {
namespace {

constexpr uint64_t kScratch = 4096;  // asked for, so that who calls has to bring it

double dot(const double* a, const double* b, int32_t n) {
  double sum = 0;
  for (int32_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

// QZ_TEST_NO_CUSOLVER: as where the library is not installed.
Outcome prepare_factor(int32_t) {
  if (!std::getenv("QZ_TEST_NO_CUSOLVER")) return {};
  return {QZ_STATUS_DEVICE, "this needs cuSOLVER, but libcusolver.so.12 cannot be opened"};
}

// QZ_TEST_NO_FACTOR_SIZE: the library does not say what it needs.
Outcome cholesky_workspace(int32_t device, int32_t, uint64_t* bytes) {
  if (std::getenv("QZ_TEST_NO_FACTOR_SIZE")) return {QZ_STATUS_DEVICE, "cuSOLVER, size of a factorization: status 3"};
  *bytes = kCounterBytes + kScratch;
  return prepare_factor(device);
}

// Above the diagonal NaN is left: it has no meaning.
Outcome run_cholesky(const CholeskyArgs& args, int32_t, void*, char*) {
  const int32_t n = args.n;
  std::vector<double> l(static_cast<size_t>(n) * static_cast<size_t>(n));
  const auto row = [&](int32_t i) { return l.data() + int64_t{i} * n; };
  for (int32_t i = 0; i < n; ++i) {
    float* a = args.a + int64_t{i} * n;
    for (int32_t j = 0; j <= i; ++j) {
      const double rest = double{a[j]} - dot(row(i), row(j), j);
      if (i == j && !(rest > 0)) return *args.info = i + 1, Outcome();
      row(i)[j] = i == j ? std::sqrt(rest) : rest / row(j)[j];
    }
  }
  for (int32_t i = 0; i < n; ++i)
    for (int32_t j = 0; j < n; ++j) args.a[int64_t{i} * n + j] = j <= i ? static_cast<float>(row(i)[j]) : NAN;
  *args.info = 0;
  return {};
}

Outcome run_cholesky_solve(const CholeskySolveArgs& args, int32_t, void*, char*) {
  const int32_t n = args.n;
  const auto at = [&](int32_t i, int32_t j) { return double{args.lower[int64_t{i} * n + j]}; };
  std::vector<double> x(static_cast<size_t>(n));
  for (int32_t r = 0; r < args.m; ++r) {
    float* out = args.x + int64_t{r} * n;
    for (int32_t i = 0; i < n; ++i) {
      double sum = double{out[i]};
      for (int32_t k = 0; k < i; ++k) sum -= at(i, k) * x[static_cast<size_t>(k)];
      x[static_cast<size_t>(i)] = sum / at(i, i);
    }
    for (int32_t i = n - 1; i >= 0; --i) {
      double sum = x[static_cast<size_t>(i)];
      for (int32_t k = i + 1; k < n; ++k) sum -= at(k, i) * x[static_cast<size_t>(k)];
      x[static_cast<size_t>(i)] = sum / at(i, i);
    }
    for (int32_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[static_cast<size_t>(i)]);
  }
  return {};
}

}  // namespace qz::cuda
