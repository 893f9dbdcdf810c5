// gptq_bench PLUGIN OUT.json [small]: what GPTQ's operations take on one block of Llama-2-7B: the four Hessians of
// 262,144 tokens, their factorizations, and the columns of its seven matrices. Wall clock around synchronize(), the
// median of five. small: the same with tiny shapes, for a rehearsal. What is not an operation (forward, search, sweeps)
// is not in it.
#include <algorithm>
#include <chrono>
#include <functional>

#include "tests/backend/gptq.h"

namespace {

using namespace qz::check;

int failures = 0;
std::string json;

// before: what run() needs anew each time; not timed.
double seconds(const Plugin& p, const std::function<qz_status()>& run, const std::function<void()>& before) {
  std::vector<double> times;
  for (int i = -1; i < 5; ++i) {
    if (before) before();
    const auto begin = std::chrono::steady_clock::now();
    if (run() != QZ_STATUS_OK || p.api.synchronize(p.api.self, nullptr, p.info.device.index) != QZ_STATUS_OK) {
      std::fprintf(stderr, "%s\n", failure().c_str());
      ++failures;
      return NAN;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (i >= 0) times.push_back(took.count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void row(const std::string& text) {
  json += (json.empty() ? "  " : ",\n  ") + text;
  std::printf("%s\n", text.c_str());
}

// Runs op with a workspace of its own; NAN with words when it cannot.
double time_of(const Plugin& p, qz_op& op, const std::function<void()>& before = nullptr) {
  if (p.api.supports(p.api.self, &op) <= 0) {
    std::fprintf(stderr, "%s\n", failure().c_str());
    ++failures;
    return NAN;
  }
  op.workspace_bytes = p.api.workspace(p.api.self, &op);
  Array workspace(p, op.workspace_bytes);
  op.workspace = workspace.data();
  if (op.workspace_bytes) workspace.zero();
  return seconds(p, [&] { return p.api.run(p.api.self, nullptr, &op); }, before);
}

// Of all tokens, in chunks.
double hessian(const Plugin& p, int64_t tokens, int64_t chunk, int64_t n) {
  std::vector<uint16_t> x(static_cast<size_t>(chunk * n));
  std::mt19937 random(1);
  for (uint16_t& v : x) v = static_cast<uint16_t>(0x3f00 | (random() & 0x807f));  // BF16, 0.5 to 1 of both signs
  Array dx(p, x), dh(p, static_cast<uint64_t>(n * n * 4));
  dh.zero();
  const qz_tensor operands[2] = {dense_of(p, dx, chunk, n, QZ_DTYPE_BF16), dense_of(p, dh, n, n, QZ_DTYPE_F32)};
  qz_op op = op_of(QZ_OP_HESSIAN, operands, 2);
  const double one = time_of(p, op), all = one * static_cast<double>(tokens) / static_cast<double>(chunk);
  char text[256];
  std::snprintf(text, sizeof text,
                "{\"op\": \"hessian\", \"n\": %lld, \"tokens\": %lld, \"seconds\": %.5f, \"useful_tflop_s\": %.1f}",
                static_cast<long long>(n), static_cast<long long>(tokens), all,
                static_cast<double>(tokens) * static_cast<double>(n * n) / all / 1e12);
  row(text);
  return all;
}

// Of a matrix whose diagonal outweighs the rest: how long it takes does not depend on the values.
double cholesky(const Plugin& p, int64_t n) {
  std::vector<float> a(static_cast<size_t>(n * n));
  std::mt19937 random(1);
  for (float& v : a) v = static_cast<float>(random() % 256) / 256 - 0.5f;
  for (int64_t i = 0; i < n; ++i) a[static_cast<size_t>(i * n + i)] = static_cast<float>(n);
  Array da(p, a), info(p, 4);
  qz_tensor operands[2] = {dense_of(p, da, n, n, QZ_DTYPE_F32), dense_of(p, info, 1, 1, QZ_DTYPE_I32)};
  operands[1].ndim = 1;
  qz_op op = op_of(QZ_OP_CHOLESKY, operands, 2);
  const double took = time_of(p, op, [&] { da.put(a.data()); });
  int32_t bad = -1;
  if (!info.get(&bad) || bad != 0) ++failures;
  char text[256];
  std::snprintf(text, sizeof text, "{\"op\": \"cholesky\", \"n\": %lld, \"seconds\": %.5f, \"tflop_s\": %.2f}",
                static_cast<long long>(n), took, static_cast<double>(n * n) * static_cast<double>(n) / 3 / took / 1e12);
  row(text);
  return took;
}

double columns(const Plugin& p, int64_t rows, int64_t cols, int64_t group) {
  const Columns c(rows, cols, group, 15, false, 1);
  Array target(p, c.target), lower(p, c.lower), order(p, c.order), scale(p, c.scale), zero(p, c.zero),
      codes(p, static_cast<uint64_t>(rows * cols)), errors(p, static_cast<uint64_t>(rows * cols * 4));
  qz_tensor operands[7] = {
      dense_of(p, target, rows, cols, QZ_DTYPE_F32),   dense_of(p, lower, cols, cols, QZ_DTYPE_F32),
      dense_of(p, order, cols, 1, QZ_DTYPE_I32),       dense_of(p, scale, rows, c.groups, QZ_DTYPE_F32),
      dense_of(p, zero, rows, c.groups, QZ_DTYPE_F32), dense_of(p, codes, rows, cols, QZ_DTYPE_U8),
      dense_of(p, errors, rows, cols, QZ_DTYPE_F32)};
  operands[2].ndim = 1;
  qz_op_grid grid = {};
  grid.struct_size = sizeof grid;
  grid.most = 15, grid.group = group;
  qz_op op = op_of(QZ_OP_GPTQ_COLUMNS, operands, 7);
  op.grid = &grid;
  const double took = time_of(p, op);
  char text[256];
  std::snprintf(text, sizeof text, "{\"op\": \"columns\", \"rows\": %lld, \"cols\": %lld, \"seconds\": %.5f}",
                static_cast<long long>(rows), static_cast<long long>(cols), took);
  row(text);
  return took;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const bool small = argc > 3;
  Plugin p;
  if (!p.open(argv[1])) {
    std::printf("SKIPPED: no device: %s\n", failure().c_str());
    return 77;
  }
  const int64_t d = small ? 160 : 4096, f = small ? 192 : 11008, tokens = small ? 64 : 262144,
                chunk = small ? 32 : 8192;
  const double hessians = 3 * hessian(p, tokens, chunk, d) + hessian(p, tokens, chunk, f);
  const double factors = 3 * cholesky(p, d) + cholesky(p, f);
  const double loops = 4 * columns(p, d, d, small ? 32 : 128) + 2 * columns(p, f, d, small ? 32 : 128) +
                       columns(p, d, f, small ? 32 : 128);
  char text[256];
  std::snprintf(text, sizeof text,
                "{\"block\": \"%s\", \"hessians_s\": %.4f, \"factors_s\": %.4f, \"columns_s\": %.4f}",
                small ? "rehearsal" : "Llama-2-7B", hessians, factors, loops);
  row(text);
  std::FILE* file = std::fopen(argv[2], "w");
  if (!file || std::fprintf(file, "[\n%s\n]\n", json.c_str()) < 0 || std::fclose(file) != 0) return 1;
  return failures != 0;
}
