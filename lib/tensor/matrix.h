// Matrices as the mathematics sees them: rows x cols of float, row-major. rows = output features, cols = input
// features.
#pragma once
#include <cstdint>
#include <vector>

#include "base/pages.h"

namespace qz {

struct MatrixView {  // borrowed, read-only; element (r, c) at data[r * stride + c]
  const float* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;
  const float* row(int64_t r) const { return data + r * stride; }
};

class Matrix {  // owned, dense (stride == cols), zero at first
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols), data_(static_cast<size_t>(rows * cols)) {}
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  float* data() { return data_.data(); }
  const float* data() const { return data_.data(); }
  float* row(int64_t r) { return data_.data() + r * cols_; }
  const float* row(int64_t r) const { return data_.data() + r * cols_; }
  MatrixView view() const { return {data_.data(), rows_, cols_, cols_}; }
  bool empty() const { return data_.empty(); }
  // Another shape in the same memory, which grows if need be; elements are unspecified.
  void reshape(int64_t rows, int64_t cols) {
    const auto size = static_cast<size_t>(rows * cols);
    rows_ = rows, cols_ = cols;
    if (size > data_.capacity()) data_ = Floats();  // not both at once
    data_.resize(size);
  }

 private:
  using Floats = std::vector<float, PageAllocator<float>>;
  int64_t rows_ = 0, cols_ = 0;
  Floats data_;
};

}  // namespace qz
