// The dense products and their micro-kernels with pages that may not be touched on both sides of what they read and
// write.
#include <algorithm>
#include <string>
#include <vector>

#include "each_engine.h"
#include "guarded.h"
#include "tensor/convert.h"

namespace qz {
namespace {

size_t bytes(int64_t floats) { return static_cast<size_t>(floats) * sizeof(float); }

void check_panels(const PanelKernels& kernels, int64_t m, int64_t n, int64_t k, bool at_end) {
  SCOPED_TRACE(std::string(kernels.name) + " m n k = " + std::to_string(m) + " " + std::to_string(n) + " " +
               std::to_string(k));
  const auto values = normal((m + n) * k, 1);
  const Guarded a(values.data(), bytes(m * k), at_end), b(values.data(), bytes(n * k), at_end);
  const int64_t words = kernels.words(k);
  const Guarded a_panel(nullptr, bytes(words * kernels.mr), at_end),
      b_panel(nullptr, bytes(words * kernels.nr), at_end);
  const Guarded c(nullptr, bytes(m * n), at_end);
  for (const bool add : {false, true}) {
    kernels.pack_across(a.as<float>(), k, m, kernels.mr, k, a_panel.as<float>());
    kernels.pack_along(b.as<float>(), n, n, kernels.nr, k, b_panel.as<float>());
    kernels.tile(k, a_panel.as<float>(), b_panel.as<float>(), 0.5f, add, m, n, c.as<float>(), n);
    kernels.pack_along(a.as<float>(), m, m, kernels.mr, k, a_panel.as<float>());
    kernels.pack_across(b.as<float>(), k, n, kernels.nr, k, b_panel.as<float>());
    kernels.tile(k, a_panel.as<float>(), b_panel.as<float>(), 0.5f, add, m, n, c.as<float>(), n);
  }
}

TEST(GemmBoundsTest, NothingOutsideThePanelsIsTouched) {
  for_each_engine([] {
    for (const Products products : {Products::kExact, Products::kFast}) {
      const PanelKernels& kernels = panels(products);
      for (const bool at_end : {false, true}) {
        for (const int64_t k : {1, 2, 3, 4, 5, 7, 8, 9, 33}) {
          for (const int64_t m : {int64_t{1}, int64_t{3}, kernels.mr - 1, kernels.mr}) {
            for (const int64_t n : {int64_t{1}, int64_t{5}, kernels.nr - 1, kernels.nr}) {
              check_panels(kernels, m, n, k, at_end);
            }
          }
        }
      }
    }
  });
}

TEST(GemmBoundsTest, NothingOutsideTheRowsIsTouched) {
  const auto values = normal(7 * 70, 2);
  for (const bool at_end : {false, true}) {
    for (const int64_t k : {1, 3, 4, 7, 8, 9, 15, 16, 17, 64, 65, 70}) {
      for (const int64_t m : {1, 2, 5}) {
        const int64_t n = 7;
        const Guarded x(values.data(), bytes(m * k), at_end), w(values.data(), bytes(n * k), at_end);
        const Guarded out(nullptr, bytes(m * n), at_end), row(nullptr, bytes(k), at_end);
        for_each_engine([&] {
          engine().gemm->dots(x.as<float>(), k, m, w.as<float>(), k, n, k, out.as<float>(), n);
          engine().gemm->combine(x.as<float>(), w.as<float>(), k, m, k, row.as<float>());
        });
      }
    }
  }
}

struct Case {
  int64_t m, n, k;
};

// Rows follow each other without a gap, so that the last one ends with the memory.
void check_products(const Context& context, const Case& s, bool at_end) {
  SCOPED_TRACE("m n k = " + std::to_string(s.m) + " " + std::to_string(s.n) + " " + std::to_string(s.k));
  const auto x = normal(s.m * s.k, 1), w = normal(s.n * s.k, 2);
  std::vector<uint16_t> half(w.size());
  from_f32(w.data(), DType::kBF16, w.size(), half.data());
  const Guarded left(x.data(), 4 * x.size(), at_end), right(w.data(), 4 * w.size(), at_end);
  const Guarded stored(half.data(), 2 * half.size(), at_end);
  const Guarded bias(w.data(), static_cast<size_t>(4 * std::min(s.n, s.n * s.k)), at_end);
  const Guarded out(nullptr, static_cast<size_t>(4 * s.m * s.n), at_end);
  const Guarded square(nullptr, static_cast<size_t>(4 * s.n * s.n), at_end);
  for_each_engine([&] {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      const DenseWeight dense{type == DType::kF32 ? right.as<void>() : stored.as<void>(), type, s.n, s.k};
      const MatrixView view{left.as<float>(), s.m, s.k, s.k};
      ASSERT_TRUE(gemm_nt(context, view, weight_rows(dense), bias.as<float>(), false, out.as<float>(), s.n).ok());
    }
    // The same memory as k x n and k x m.
    const MatrixView a{left.as<float>(), s.k, s.m, s.m}, b{right.as<float>(), s.k, s.n, s.n};
    ASSERT_TRUE(gemm_nn(context, {left.as<float>(), s.m, s.k, s.k}, b, 1, out.as<float>(), s.n).ok());
    ASSERT_TRUE(gemm_tn(context, a, b, 1, false, out.as<float>(), s.n).ok());
    ASSERT_TRUE(gemm_tn(context, b, b, 1, true, square.as<float>(), s.n).ok());
  });
}

TEST(GemmBoundsTest, NothingOutsideTheMatricesIsTouched) {
  for (const Products products : {Products::kExact, Products::kFast}) {
    const auto context = with_products(make_context(2), products);
    for (const bool at_end : {false, true}) {
      for (const Case& shape : {Case{1, 1, 1}, Case{25, 33, 31}, Case{31, 15, 33}, Case{32, 32, 32}, Case{40, 65, 257},
                                Case{65, 17, 256}, Case{33, 129, 511}, Case{530, 47, 260}, Case{29, 300, 4100}}) {
        check_products(*context, shape, at_end);
      }
    }
  }
}

}  // namespace
}  // namespace qz
