// One dense product as a grid of output tiles. The order in which an element is summed — k ascending in blocks of
// 256 words, each block's sum added to c — depends on neither the grid nor the threads.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/gemm.h"

namespace qz {

// One factor, as the packing sees it: element (i, k) of op(A), or (j, k) of op(B).
struct Factor {
  enum class Layout { kAcross, kAlong, kFetch };
  Layout layout = Layout::kAcross;
  const float* data = nullptr;  // kAcross: at data[i * stride + k]; kAlong: at data[k * stride + i]
  int64_t stride = 0;
  const WeightRows* weight = nullptr;  // kFetch: k in weight row i
  const uint16_t* bf16 = nullptr;      // kFetch: where the weight lies, if it is bfloat16 in memory, `stride` a row
};

struct Product {  // c[i][j] = init + alpha * sum_k a(i, k) b(j, k)
  Factor a, b;
  int64_t m = 0, n = 0, k = 0;
  Products products = Products::kExact;
  float alpha = 1;
  bool lower_only = false;
  bool accumulate = true;       // false: c is first set to bias (or 0)
  const float* bias = nullptr;  // [n]
  float* c = nullptr;
  int64_t c_stride = 0;
};
Status run_product(const Context& context, const Product& product, Progress* progress);
// Products that share b, k and the kind of products.
Status run_products(const Context& context, const std::vector<Product>& products, Progress* progress);

}  // namespace qz
