// The micro-kernels of the dense products with pages that may not be touched on both sides of what they read and write.
#include <string>

#include "each_engine.h"
#include "guarded.h"

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

}  // namespace
}  // namespace qz
