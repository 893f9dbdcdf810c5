// ggml's product of a quantized matrix, for bench/peers, from Python: the matrix in one of the CPU backend's own buffer
// types ("AMX", "CPU_REPACK", or "" for plain rows), copies of it taking turns. Built against the libraries of
// llama-cpp-python's source package.
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

namespace {

ggml_backend_dev_t cpu() { return ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0); }

std::vector<ggml_backend_buffer_type_t> extra_types() {
  ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  std::vector<ggml_backend_buffer_type_t> types;
  const auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
      ggml_backend_reg_get_proc_address(ggml_backend_cpu_reg(), "ggml_backend_dev_get_extra_bufts"));
  for (ggml_backend_buffer_type_t* t = get ? get(cpu()) : nullptr; t != nullptr && *t != nullptr; ++t) {
    types.push_back(*t);
  }
  return types;
}

ggml_context* names_only(size_t tensors) {
  return ggml_init({tensors * ggml_tensor_overhead() + 65536, nullptr, true});
}

// What one number of rows of x needs: graphs of products whose results share their memory.
struct Rows {
  int64_t m = 0;
  ggml_context* context = nullptr;
  ggml_backend_buffer_t buffer = nullptr;
  ggml_tensor *x = nullptr, *y = nullptr;
  std::vector<ggml_cgraph*> graphs;
  void clear() {
    if (buffer) ggml_backend_buffer_free(buffer);
    if (context) ggml_free(context);
    *this = Rows();
  }
};

struct Product {
  ggml_context* context = nullptr;
  ggml_backend_buffer_t buffer = nullptr;
  std::vector<ggml_tensor*> copies;
  ggml_backend_t backend = nullptr;
  ggml_threadpool* pool = nullptr;
  Rows rows;
  size_t next = 0;
  ~Product() {
    rows.clear();
    if (buffer) ggml_backend_buffer_free(buffer);
    if (context) ggml_free(context);
    if (backend) ggml_backend_free(backend);
    if (pool) ggml_threadpool_free(pool);
  }
};

// One graph of all copies where a product takes microseconds, else a graph each.
constexpr int64_t kOneGraph = 16;

bool prepare(Product* p, int64_t m) {
  if (p->rows.m == m) return true;
  Rows& r = p->rows;
  r.clear();
  const size_t n = p->copies.size(), graphs = m <= kOneGraph ? 1 : n, each = n / graphs;
  r.m = m;
  r.context = ggml_init(
      {(n + 4) * ggml_tensor_overhead() + graphs * ggml_graph_overhead_custom(each + 8, false) + 65536, nullptr, true});
  r.x = ggml_new_tensor_2d(r.context, GGML_TYPE_F32, p->copies[0]->ne[0], m);
  r.y = ggml_new_tensor_2d(r.context, GGML_TYPE_F32, p->copies[0]->ne[1], m);
  r.buffer = ggml_backend_alloc_ctx_tensors_from_buft(r.context, ggml_backend_cpu_buffer_type());
  if (!r.buffer) return false;
  for (size_t g = 0; g < graphs; ++g) {
    ggml_cgraph* graph = ggml_new_graph_custom(r.context, each + 8, false);
    for (size_t i = 0; i < each; ++i) {
      ggml_tensor* y = ggml_mul_mat(r.context, p->copies[g * each + i], r.x);
      if (ggml_backend_tensor_alloc(r.buffer, y, r.y->data) != GGML_STATUS_SUCCESS) return false;
      ggml_build_forward_expand(graph, y);
    }
    r.graphs.push_back(graph);
  }
  return true;
}

}  // namespace

extern "C" {

// The names of the CPU's own buffer types, best first, a space between them.
const char* peer_ggml_buffers() {
  static std::string names;
  names.clear();
  for (const ggml_backend_buffer_type_t t : extra_types()) {
    names += (names.empty() ? "" : " ") + std::string(ggml_backend_buft_name(t));
  }
  return names.c_str();
}

// w[rows][cols] in `type` ("q4_0" "q4_K"); null: no such buffer, type, or memory.
void* peer_ggml_new(const char* buffer, const char* type, int64_t rows, int64_t cols, const float* w, int64_t copies,
                    int threads) {
  ggml_backend_buffer_type_t kind = *buffer ? nullptr : ggml_backend_cpu_buffer_type();
  for (const ggml_backend_buffer_type_t t : extra_types()) {
    if (std::strcmp(ggml_backend_buft_name(t), buffer) == 0) kind = t;
  }
  ggml_type code = GGML_TYPE_COUNT;
  for (int t = 0; t < GGML_TYPE_COUNT; ++t) {
    const char* name = ggml_type_name(static_cast<ggml_type>(t));
    if (name && std::strcmp(name, type) == 0) code = static_cast<ggml_type>(t);
  }
  if (!kind || code == GGML_TYPE_COUNT) return nullptr;
  auto* p = new Product;
  p->context = names_only(static_cast<size_t>(copies));
  for (int64_t i = 0; i < copies; ++i) p->copies.push_back(ggml_new_tensor_2d(p->context, code, cols, rows));
  p->buffer = ggml_backend_alloc_ctx_tensors_from_buft(p->context, kind);
  if (!p->buffer) return delete p, nullptr;
  std::vector<uint8_t> codes(ggml_nbytes(p->copies[0]));
  ggml_quantize_chunk(code, w, codes.data(), 0, rows, cols, nullptr);
  for (ggml_tensor* t : p->copies) ggml_backend_tensor_set(t, codes.data(), 0, codes.size());
  p->backend = ggml_backend_cpu_init();
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  p->pool = ggml_threadpool_new(&params);
  ggml_backend_cpu_set_n_threads(p->backend, threads);
  ggml_backend_cpu_set_threadpool(p->backend, p->pool);
  ggml_threadpool_pause(p->pool);
  return p;
}

// About `times` products with x[m][cols], all threads awake only meanwhile; how many it was, 0: it failed. The last
// result goes to y[m][rows] if that is not null.
int64_t peer_ggml_run(void* self, const float* x, int64_t m, int64_t times, float* y) {
  auto* p = static_cast<Product*>(self);
  if (p->rows.m != m) {
    if (!prepare(p, m)) return 0;
    ggml_backend_tensor_set(p->rows.x, x, 0, ggml_nbytes(p->rows.x));
  }
  const auto each = static_cast<int64_t>(p->copies.size() / p->rows.graphs.size());
  int64_t done = 0;
  bool good = true;
  // On a thread of its own: ggml configures the tile registers once a thread and takes them for its own from then on.
  std::thread([&] {
    for (; good && done < times; done += each) {
      ggml_cgraph* graph = p->rows.graphs[p->next++ % p->rows.graphs.size()];
      good = ggml_backend_graph_compute(p->backend, graph) == GGML_STATUS_SUCCESS;
    }
  }).join();
  if (!good) return 0;
  if (y) ggml_backend_tensor_get(p->rows.y, y, 0, ggml_nbytes(p->rows.y));
  return done;
}

// Its threads sleep from now on until the next run begins.
void peer_ggml_sleep(void* self) { ggml_threadpool_pause(static_cast<Product*>(self)->pool); }
void peer_ggml_wake(void* self) { ggml_threadpool_resume(static_cast<Product*>(self)->pool); }

void peer_ggml_free(void* self) { delete static_cast<Product*>(self); }

}  // extern "C"
