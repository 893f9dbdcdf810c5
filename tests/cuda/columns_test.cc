// GPTQ's loop on the emulator gives the codes of the CPU's.
#include "columns.h"

#include "../unit/method/problem.h"
#include "gptq.h"
#include "method/columns.h"
#include "method/device_columns.h"
#include "problem.h"

namespace qz::cuda {
namespace {

struct Found {
  std::vector<uint8_t> codes;
  std::vector<float> errors;
};

Found on_device(MatrixView target, const HessianFactor& f, const Grid& grid, const Lattice& lattice) {
  const auto cells = static_cast<size_t>(target.rows * target.cols);
  const DeviceArray t(target.data, cells * 4), lower(f.lower.data(), static_cast<size_t>(f.cols * f.cols) * 4);
  const DeviceArray order(f.order.data(), f.order.size() * 4), scale(grid.scale.data(), grid.scale.size() * 4);
  const DeviceArray zero(grid.zero.data(), grid.zero.size() * 4), codes(cells), errors(cells * 4);
  ColumnsArgs a = {};
  a.target = t.as<float>(), a.lower = lower.as<float>(), a.order = order.as<int32_t>();
  a.scale = scale.as<float>(), a.zero = zero.as<float>();
  a.codes = codes.as<uint8_t>(), a.errors = errors.as<float>();
  a.rows = static_cast<int32_t>(target.rows), a.cols = static_cast<int32_t>(target.cols);
  a.groups = static_cast<int32_t>(grid.groups), a.group = static_cast<int32_t>(lattice.group);
  a.most = lattice.points.most;
  const DeviceArray workspace(columns_workspace(a.rows, a.cols));
  device().failure.clear();
  const Outcome ran = run_columns(a, 0, nullptr, workspace.as<char>());
  EXPECT_TRUE(ran.ok()) << ran.words;
  return {{a.codes, a.codes + cells}, {a.errors, a.errors + cells}};
}

void check(int64_t rows, int64_t cols, const Scheme& scheme, Order order, bool exact) {
  SCOPED_TRACE(scheme_name(scheme) + " " + std::to_string(rows) + " x " + std::to_string(cols));
  const qz::Problem p = make_problem(rows, cols, 0, static_cast<uint32_t>(rows + cols));
  GptqOptions options = plain_gptq();
  options.order = order;
  const auto f = factor_hessian(*make_context(1), p.stats, options);
  ASSERT_TRUE(f.ok());
  const auto grid = choose_grid(*make_context(1), p.w.view(), f->diag.data(), scheme, {true, true, 0});
  ASSERT_TRUE(grid.ok());
  const Lattice lattice(scheme, cols);
  const auto want =
      solve_columns(*make_context(1), p.w.view(), *f, RowMetric(), *grid, lattice, kColumnsWidth, nullptr);
  ASSERT_TRUE(want.ok());
  const Found found = on_device(p.w.view(), *f, *grid, lattice);
  if (exact) {
    EXPECT_EQ(found.codes, *want);
  } else {  // products between blocks are added in another order
    size_t same = 0;
    for (size_t i = 0; i < want->size(); ++i) same += (*want)[i] == found.codes[i];
    EXPECT_GE(static_cast<double>(same), 0.999 * static_cast<double>(want->size()));
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      const int64_t c = f->order[static_cast<size_t>(j)];
      const auto g = static_cast<size_t>(grid->at(r, c / lattice.group));
      const float value =
          grid->scale[g] * (static_cast<float>(found.codes[static_cast<size_t>(r * cols + c)]) - grid->zero[g]);
      ASSERT_EQ(found.errors[static_cast<size_t>(r * cols + j)], p.w.row(r)[c] - value) << r << ", " << j;
    }
  }
}

TEST(ColumnsTest, ABlockGivesTheSameCodes) {
  for (const auto& [rows, cols] : {std::pair{1, 1}, {5, 33}, {37, 100}, {70, 128}}) {
    for (const Order order : {Order::kNone, Order::kStatic, Order::kGidx}) {
      check(rows, cols, make_scheme(4, 32), order, true);
      check(rows, cols, make_scheme(3, 64, false), order, true);
      check(rows, cols, make_scheme(2, kGroupRow), order, true);
      check(rows, cols, make_scheme(8, 16, false), order, true);
    }
  }
}

// Through the plug-in, as a run would.
TEST(ColumnsTest, ThePlugInGivesTheSameCodes) {
  const auto backend = Backend::open(QZ_EMULATED_PLUGIN, {});
  ASSERT_TRUE(backend.ok()) << backend.status().text();
  const qz_device device = (*backend)->devices()[0].device;
  const qz::Problem p = make_problem(70, 96);
  const auto f = factor_hessian(*make_context(1), p.stats, plain_gptq());
  ASSERT_TRUE(f.ok());
  const Scheme scheme = make_scheme(4, 32, false);
  const auto grid = choose_grid(*make_context(1), p.w.view(), f->diag.data(), scheme, {true, true, 0});
  ASSERT_TRUE(grid.ok());
  Lattice lattice(scheme, 96);
  const auto want =
      solve_columns(*make_context(1), p.w.view(), *f, RowMetric(), *grid, lattice, kColumnsWidth, nullptr);
  const auto found = solve_columns_on(**backend, device, p.w.view(), *f, *grid, lattice);
  ASSERT_TRUE(want.ok() && found.ok()) << found.status().text();
  EXPECT_EQ(*found, *want);
  lattice.group = 97;
  EXPECT_EQ(solve_columns_on(**backend, device, p.w.view(), *f, *grid, lattice).status().code(), Code::kUnsupported);
  lattice.points.count = 16;
  EXPECT_EQ(solve_columns_on(**backend, device, p.w.view(), *f, *grid, lattice).status().code(), Code::kUnsupported);
}

TEST(ColumnsTest, ManyBlocksGiveTheSameCodes) {
  for (const auto& [rows, cols] : {std::pair{33, 129}, {40, 256}, {20, 450}}) {
    check(rows, cols, make_scheme(4, 32), Order::kStatic, false);
    check(rows, cols, make_scheme(4, 128, false), Order::kNone, false);
    check(rows, cols, make_scheme(3, kGroupRow), Order::kGidx, false);
  }
}

}  // namespace
}  // namespace qz::cuda
