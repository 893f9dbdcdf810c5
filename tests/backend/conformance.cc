// conformance PLUGIN [full]: every operation of a backend, against double precision. Exit 0: all good; 77: there is no
// device; 1: something is wrong. A line per operation and scheme; full: larger shapes, for a real GPU.
#include <algorithm>

#include "cholesky.h"
#include "gptq.h"
#include "opened.h"

namespace qz::check {
namespace {

int failures = 0, cases = 0, skipped = 0;

void report(bool good, const std::string& what, const std::string& why) {
  ++cases;
  if (good) return;
  ++failures;
  std::printf("FAIL %s: %s\n", what.c_str(), why.c_str());
}

// Allocates the workspace, zeroed, and runs the operation.
bool run(const Plugin& p, qz_op* op, int times = 2) {
  failure().clear();
  if (p.api.supports(p.api.self, op) <= 0) {
    failure() = "supports() says no";
    return false;
  }
  op->workspace_bytes = p.api.workspace(p.api.self, op);
  Array workspace(p, op->workspace_bytes);
  op->workspace = workspace.data();
  if (op->workspace_bytes && !workspace.zero()) return false;
  for (int again = 0; again < times; ++again)  // the second one meets the workspace as the first left it
    if (p.api.run(p.api.self, nullptr, op) != QZ_STATUS_OK) return false;
  return p.api.synchronize(p.api.self, nullptr, p.info.device.index) == QZ_STATUS_OK;
}

// A library that a machine may lack is no failure of the backend: it is told, and counted apart.
bool lacks_library(const Plugin& p, const qz_op& op, const std::string& what) {
  failure().clear();
  if (p.api.supports(p.api.self, &op) > 0 || p.api.run(p.api.self, nullptr, &op) == QZ_STATUS_OK ||
      failure().find("this needs cu") == std::string::npos)
    return false;
  ++skipped;
  std::printf("SKIPPED %s: %s\n", what.c_str(), failure().c_str());
  return true;
}

qz_op make_op(qz_op_kind kind, const OnDevice& w, const qz_tensor* operands, size_t count) {
  qz_op op = op_of(kind, operands, count);
  op.w = &w.view;
  return op;
}

void dequantize(const Plugin& p, const Matrix& m, qz_dtype out, const std::string& what) {
  const OnDevice w(p, m);
  const int64_t stride = m.cols + 5;
  std::vector<char> host(static_cast<size_t>(m.rows * stride) * width_of(out), '\xff');
  Array device(p, host);
  const qz_tensor t = matrix_of(p, device.data(), m.rows, m.cols, stride, out);
  qz_op op = make_op(QZ_OP_DEQUANTIZE, w, &t, 1);
  if (!run(p, &op) || !device.get(host.data())) return report(false, what, failure());
  std::string wrong;
  for (int64_t i = 0; i < m.rows * stride && wrong.empty(); ++i) {
    const float found = load(host.data() + static_cast<size_t>(i) * width_of(out), out);
    if (i % stride >= m.cols) {
      if (!std::isnan(found)) wrong = "written beside the matrix";
    } else if (const float want = rounded(m.weights[static_cast<size_t>(i / stride * m.cols + i % stride)], out);
               found != want) {
      wrong = "row " + std::to_string(i / stride) + ", column " + std::to_string(i % stride) + ": " +
              std::to_string(found) + ", expected " + std::to_string(want);
    }
  }
  report(wrong.empty(), what, wrong);
}

struct Product {
  int64_t m;
  qz_dtype type, y_type;
  bool bias;
};

void gemm(const Plugin& p, const Matrix& m, const Product& c, const std::string& what) {
  const OnDevice w(p, m);
  std::mt19937 random(static_cast<uint32_t>(c.m));
  std::normal_distribution<float> normal;
  const int64_t x_stride = (m.cols + 8 + 7) / 8 * 8, y_stride = m.rows + 3;
  const size_t x_width = width_of(c.type), y_width = width_of(c.y_type);
  std::vector<char> x(static_cast<size_t>(c.m * x_stride) * x_width, '\xff');
  std::vector<char> y(static_cast<size_t>(c.m * y_stride) * y_width, '\xff');
  std::vector<float> values(static_cast<size_t>(c.m * m.cols)), bias;
  for (int64_t i = 0; i < c.m * m.cols; ++i) {
    float& v = values[static_cast<size_t>(i)];
    v = rounded(normal(random), c.type);
    store(v, c.type, x.data() + static_cast<size_t>(i / m.cols * x_stride + i % m.cols) * x_width);
  }
  for (int64_t r = 0; c.bias && r < m.rows; ++r) bias.push_back(static_cast<float>(r % 9) - 4);
  Array dx(p, x), dy(p, y), db(p, bias);
  qz_tensor operands[3] = {matrix_of(p, dx.data(), c.m, m.cols, x_stride, c.type),
                           matrix_of(p, dy.data(), c.m, m.rows, y_stride, c.y_type),
                           {}};
  operands[2].data = db.data();
  operands[2].shape[0] = m.rows, operands[2].stride[0] = 1;
  operands[2].ndim = 1;
  operands[2].dtype = QZ_DTYPE_F32;
  operands[2].device = p.info.device;
  qz_op op = make_op(QZ_OP_GEMM, w, operands, c.bias ? 3 : 2);
  if (lacks_library(p, op, what)) return;
  if (!run(p, &op) || !dy.get(y.data())) return report(false, what, failure());

  // Weights may be rounded once to the type of x; sums are float32; y is rounded once.
  const double once = c.type == QZ_DTYPE_F16 ? 0x1p-11 : 0x1p-8;
  const double last = c.y_type == QZ_DTYPE_F32 ? 0 : c.y_type == QZ_DTYPE_F16 ? 0x1p-11 : 0x1p-8;
  // Of large products a part of the rows, others each time.
  const int64_t step = std::max<int64_t>(1, c.m * m.rows * m.cols / 50'000'000);
  double squares = 0, errors = 0;
  std::string wrong;
  for (int64_t t = 0; t < c.m && wrong.empty(); ++t) {
    for (int64_t r = t % step; r < m.rows && wrong.empty(); r += step) {
      double want = c.bias ? double{bias[static_cast<size_t>(r)]} : 0, size = 0;
      const float *a = values.data() + t * m.cols, *b = m.weights.data() + r * m.cols;
      for (int64_t k = 0; k < m.cols; ++k)
        want += double{a[k]} * double{b[k]}, size += std::fabs(double{a[k]} * double{b[k]});
      const double found = load(y.data() + static_cast<size_t>(t * y_stride + r) * y_width, c.y_type);
      // Rounding errors of weights add up like a random walk; six times its width never happens by chance.
      const double room =
          size * (0x1p-20 + 6 * once / std::sqrt(static_cast<double>(m.cols))) + std::fabs(want) * last + 1e-6;
      errors += (found - want) * (found - want), squares += want * want;
      if (!(std::fabs(found - want) <= room))
        wrong = "token " + std::to_string(t) + ", row " + std::to_string(r) + ": " + std::to_string(found) +
                ", expected " + std::to_string(want);
    }
    for (int64_t r = m.rows; r < y_stride && wrong.empty(); ++r)
      if (!std::isnan(load(y.data() + static_cast<size_t>(t * y_stride + r) * y_width, c.y_type)))
        wrong = "written beside y";
  }
  const double relative = std::sqrt(errors / std::max(squares, 1e-30));
  if (wrong.empty() && relative > 2 * (once + last)) wrong = "relative error " + std::to_string(relative);
  report(wrong.empty(), what, wrong);
}

void refusals(const Plugin& p) {
  const Matrix m(64, 64, 32, QZ_DTYPE_F16, false, 1);
  const OnDevice w(p, m);
  Array x(p, 64 * 64 * 4), y(p, 64 * 64 * 4);
  const qz_tensor good[2] = {matrix_of(p, x.data(), 4, 64, 64, QZ_DTYPE_F16),
                             matrix_of(p, y.data(), 4, 64, 64, QZ_DTYPE_F16)};
  const auto refused = [&](const char* what, const qz_tensor* operands, size_t count, const qz_bricks& bricks) {
    qz_op op = make_op(QZ_OP_GEMM, w, operands, count);
    op.w = &bricks;
    failure().clear();
    const bool said = p.api.supports(p.api.self, &op) == 0 && p.api.run(p.api.self, nullptr, &op) != QZ_STATUS_OK;
    report(said && !failure().empty(), what, "it is taken, or refused without words");
  };
  const auto with = [&](int which, auto change) {
    std::vector<qz_tensor> t(good, good + 2);
    change(t[static_cast<size_t>(which)]);
    return t;
  };
  refused("x of other columns", with(0, [](qz_tensor& t) { t.shape[1] = 63; }).data(), 2, w.view);
  refused("y of other rows", with(1, [](qz_tensor& t) { t.shape[1] = 65; }).data(), 2, w.view);
  refused("other tokens", with(1, [](qz_tensor& t) { t.shape[0] = 3; }).data(), 2, w.view);
  refused("no tokens", with(0, [](qz_tensor& t) { t.shape[0] = 0; }).data(), 2, w.view);
  refused("x in F32", with(0, [](qz_tensor& t) { t.dtype = QZ_DTYPE_F32; }).data(), 2, w.view);
  refused("y in bytes", with(1, [](qz_tensor& t) { t.dtype = QZ_DTYPE_U8; }).data(), 2, w.view);
  refused("x on the host", with(0, [](qz_tensor& t) { t.device.kind = 1; }).data(), 2, w.view);
  refused("x by columns", with(0, [](qz_tensor& t) { t.stride[0] = 1, t.stride[1] = 64; }).data(), 2, w.view);
  refused("odd rows of x", with(0, [](qz_tensor& t) { t.stride[0] = 65; }).data(), 2, w.view);
  refused("y between elements", with(1, [](qz_tensor& t) { t.data = static_cast<char*>(t.data) + 1; }).data(), 2,
          w.view);
  Array b(p, 64 * 4 + 2);
  std::vector<qz_tensor> three(good, good + 2);
  three.push_back(matrix_of(p, static_cast<char*>(b.data()) + 2, 64, 1, 1, QZ_DTYPE_F32));
  three[2].ndim = 1;
  refused("a bias between elements", three.data(), 3, w.view);
  refused("no y", good, 1, w.view);
  qz_bricks bricks = w.view;
  bricks.bits = 8;
  refused("8-bit codes", good, 2, bricks);
  bricks = w.view, bricks.group = 48;
  refused("groups of 48", good, 2, bricks);
  bricks = w.view, bricks.rows = 0;
  refused("no rows", good, 2, bricks);
  bricks = w.view, bricks.scale = QZ_DTYPE_U8;
  refused("scales in bytes", good, 2, bricks);
  qz_op op = make_op(999, w, good, 2);
  report(p.api.supports(p.api.self, &op) == 0, "an operation of the future", "it is taken");
  op = make_op(QZ_OP_GEMM, w, good, 2);
  qz_tensor many[2] = {good[0], good[1]};  // tokens, so that some scratch is likely to be needed
  many[0].shape[0] = many[1].shape[0] = 64;
  op.operands = many;
  if (const uint64_t need = p.api.workspace(p.api.self, &op); need > 0) {
    report(p.api.run(p.api.self, nullptr, &op) != QZ_STATUS_OK, "no workspace", "it is taken");
    Array workspace(p, need + 16);
    op.workspace = static_cast<char*>(workspace.data()) + 16, op.workspace_bytes = need;
    report(p.api.run(p.api.self, nullptr, &op) != QZ_STATUS_OK, "a workspace at 16 bytes", "it is taken");
  }
  void* none = nullptr;
  report(p.api.alloc(p.api.self, 99, 16, &none) != QZ_STATUS_OK, "device 99", "it gives memory");
}

void hessian(const Plugin& p, int64_t m, int64_t n, qz_dtype type, uint32_t seed) {
  const std::string what = "hessian " + std::to_string(m) + " x " + std::to_string(n) + ", " + name_of(type);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const int64_t stride = (n + 15) / 8 * 8;
  std::vector<char> x(static_cast<size_t>(m * stride) * 2, '\xff');
  std::vector<float> values, before(static_cast<size_t>(n * n)), found(before.size());
  for (int64_t i = 0; i < m * n; ++i) {
    values.push_back(rounded(normal(random), type));
    store(values.back(), type, x.data() + (i / n * stride + i % n) * 2);
  }
  for (float& h : before) h = normal(random);
  Array dx(p, x), dh(p, before);
  const qz_tensor operands[2] = {matrix_of(p, dx.data(), m, n, stride, type), dense_of(p, dh, n, n, QZ_DTYPE_F32)};
  qz_op op = op_of(QZ_OP_HESSIAN, operands, 2);
  if (lacks_library(p, op, what)) return;
  if (!run(p, &op) || !dh.get(found.data())) return report(false, what, failure());
  const std::string wrong = wrong_hessian(values, m, n, before, found, 2);  // run() runs it twice
  report(wrong.empty(), what, wrong);
}

void columns(const Plugin& p, const Columns& c, const std::string& name) {
  const std::string what = "gptq columns " + std::to_string(c.rows) + " x " + std::to_string(c.cols) + ", group " +
                           std::to_string(c.group) + ", 0 to " + std::to_string(c.most) + name;
  std::vector<uint8_t> codes(c.target.size(), 0xff);
  std::vector<float> errors(c.target.size(), NAN);
  Array target(p, c.target), lower(p, c.lower), order(p, c.order), scale(p, c.scale), zero(p, c.zero), dc(p, codes),
      de(p, errors);
  qz_tensor operands[7] = {
      dense_of(p, target, c.rows, c.cols, QZ_DTYPE_F32), dense_of(p, lower, c.cols, c.cols, QZ_DTYPE_F32),
      dense_of(p, order, c.cols, 1, QZ_DTYPE_I32),       dense_of(p, scale, c.rows, c.groups, QZ_DTYPE_F32),
      dense_of(p, zero, c.rows, c.groups, QZ_DTYPE_F32), dense_of(p, dc, c.rows, c.cols, QZ_DTYPE_U8),
      dense_of(p, de, c.rows, c.cols, QZ_DTYPE_F32)};
  operands[2].ndim = 1;
  qz_op_grid grid = {};
  grid.struct_size = sizeof grid;
  grid.most = c.most, grid.group = c.group;
  qz_op op = op_of(QZ_OP_GPTQ_COLUMNS, operands, 7);
  op.grid = &grid;
  if (lacks_library(p, op, what)) return;
  if (!run(p, &op) || !dc.get(codes.data()) || !de.get(errors.data())) return report(false, what, failure());
  const std::string wrong = c.wrong(codes, errors);
  report(wrong.empty(), what, wrong);
  const auto refused = [&](const char* why) {
    report(p.api.supports(p.api.self, &op) == 0 && p.api.run(p.api.self, nullptr, &op) != QZ_STATUS_OK, why,
           "it is taken");
  };
  grid.group = 0;
  refused("groups of no columns");
  grid.group = c.group, grid.most = 256;
  refused("codes of 9 bits");
  grid.most = c.most, op.grid = nullptr;
  refused("no grid");
  op.grid = &grid, operands[1].shape[0] = c.cols + 1;
  refused("a factor of another shape");
  op.struct_size = offsetof(qz_op, grid);  // a host of before
  operands[1].shape[0] = c.cols;
  refused("an operation without room for a grid");
}

// The factor of one matrix, and three rows solved with it; then one that has none.
void cholesky(const Plugin& p, int64_t n, uint32_t seed) {
  const std::string what = "cholesky " + std::to_string(n);
  const Square square(n, seed);
  std::vector<float> l(square.a.size()), bad = square.a;
  std::vector<int32_t> info = {-1};
  Array a(p, square.a), dinfo(p, info);
  qz_tensor operands[2] = {dense_of(p, a, n, n, QZ_DTYPE_F32), dense_of(p, dinfo, 1, 1, QZ_DTYPE_I32)};
  operands[1].ndim = 1;
  qz_op op = op_of(QZ_OP_CHOLESKY, operands, 2);
  if (lacks_library(p, op, what)) return;
  if (!run(p, &op, 1) || !a.get(l.data()) || !dinfo.get(info.data())) return report(false, what, failure());
  std::string wrong = info[0] == 0 ? square.wrong_factor(l) : "info is " + std::to_string(info[0]);
  report(wrong.empty(), what, wrong);

  constexpr int64_t kRows = 3;
  std::vector<float> x(static_cast<size_t>(kRows * n)), y(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) / 4 - 1;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i + 1; j < n; ++j) square.at(&l, i, j) = NAN;
  Array dx(p, x), lower(p, l);
  qz_tensor solve[2] = {dense_of(p, lower, n, n, QZ_DTYPE_F32), dense_of(p, dx, kRows, n, QZ_DTYPE_F32)};
  op.kind = QZ_OP_CHOLESKY_SOLVE;
  op.operands = solve;
  if (!run(p, &op, 1) || !dx.get(y.data())) return report(false, what + ", solve", failure());
  wrong = square.wrong_solution(x, y, kRows);
  report(wrong.empty(), what + ", solve", wrong);

  const auto refused = [&](const char* why) {
    report(p.api.supports(p.api.self, &op) == 0 && p.api.run(p.api.self, nullptr, &op) != QZ_STATUS_OK, why,
           "it is taken");
  };
  solve[1].shape[1] = n + 1;
  refused("x of other columns than the factor");
  op.kind = QZ_OP_CHOLESKY, op.operands = operands;
  operands[1].dtype = QZ_DTYPE_F32;
  refused("an info in F32");
  operands[1].dtype = QZ_DTYPE_I32;
  operands[0].shape[1] = n + 1;
  refused("a matrix that is not square");
  operands[0].shape[1] = n;
  op.count = 1;
  refused("no info");
  op.count = 2;

  const int64_t pivot = n / 2;
  square.at(&bad, pivot, pivot) = -1;
  if (!a.put(bad.data()) || !run(p, &op, 1) || !dinfo.get(info.data()))
    return report(false, what + ", indefinite", failure());
  report(info[0] == pivot + 1, what + ", indefinite", "info is " + std::to_string(info[0]));
}

void gptq(const Plugin& p, bool full) {
  hessian(p, 1, 1, QZ_DTYPE_F16, 1);
  hessian(p, 33, 70, QZ_DTYPE_BF16, 2);
  hessian(p, 50, 300, QZ_DTYPE_F16, 3);
  if (full) hessian(p, 4096, 1100, QZ_DTYPE_BF16, 4);
  for (const int64_t n : {1, 2, 70, 200}) cholesky(p, n, static_cast<uint32_t>(n));
  if (full) cholesky(p, 1500, 5);
  columns(p, Columns(1, 1, 1, 15, false, 1), "");
  columns(p, Columns(37, 100, 32, 15, false, 2), "");
  columns(p, Columns(33, 128, 128, 3, true, 3), ", act-order");
  columns(p, Columns(40, 300, 64, 7, true, 4), ", act-order");
  columns(p, Columns(70, 260, 260, 255, false, 5), "");
  if (full) columns(p, Columns(512, 2048, 128, 15, true, 6), ", act-order");
}

void suite(const Plugin& p, bool full) {
  refusals(p);
  gptq(p, full);
  uint32_t seed = 0;
  struct Shape {
    int64_t rows, cols;
  };
  std::vector<Shape> shapes = {{1, 1}, {64, 64}, {70, 130}, {129, 640}};
  if (full) shapes.insert(shapes.end(), {{4096, 4096}, {11008, 4096}, {1000, 11009}});
  for (const Shape& s : shapes) {
    for (const int32_t group : {0, 16, 32, 64, 128, 1024}) {
      if (full && s.rows > 1000 && group != 128 && group != 0) continue;
      const qz_dtype scale = ++seed % 3 + 1, type = seed % 2 ? QZ_DTYPE_BF16 : QZ_DTYPE_F16;
      const Matrix m(s.rows, s.cols, group, scale, seed % 4 > 1, seed);
      const std::string what = std::to_string(s.rows) + " x " + std::to_string(s.cols) + ", group " +
                               std::to_string(group) + ", scales " + name_of(scale) +
                               (m.asymmetric ? ", zero points" : "");
      dequantize(p, m, seed / 2 % 3 + 1, "dequantize " + what);
      std::vector<int64_t> tokens = {1, 5, 8, 9, 16, 17, 33, 65};
      if (full) tokens.insert(tokens.end(), {32, 64, 200, 2048});
      if (!full && s.rows * s.cols > 10000) tokens = {1 + seed % 8, 9 + seed % 24, 33 + seed % 32, 65};
      for (const int64_t t : tokens) {
        const Product c = {t, type, (seed + t) % 3 ? type : QZ_DTYPE_F32, (seed + t) % 2 == 0};
        gemm(p, m, c,
             "gemm " + what + ", " + std::to_string(t) + " tokens of " + name_of(type) + " to " + name_of(c.y_type));
      }
    }
  }
}

}  // namespace
}  // namespace qz::check

int main(int argc, char** argv) {
  using namespace qz::check;
  if (argc < 2) return 2;
  Plugin plugin;
  if (!plugin.open(argv[1])) {
    std::printf("SKIPPED: no device: %s\n", failure().c_str());
    return 77;
  }
  suite(plugin, argc > 2 && std::string(argv[2]) == "full");
  std::printf("%s, %s: %d cases, %d failed", plugin.info.name, plugin.info.arch, cases, failures);
  if (skipped) std::printf(", %d without a library", skipped);
  std::printf("\n");
  return failures != 0;
}
