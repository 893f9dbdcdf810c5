// Weights out of the checkpoint, dense or decoded.
#include <algorithm>
#include <cstring>

#include "model/finite.h"
#include "model/model.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// [rows][cols] elements of `size` bytes -> [cols][rows].
std::vector<uint8_t> transpose(const std::vector<uint8_t>& in, int64_t rows, int64_t cols, size_t size) {
  std::vector<uint8_t> out(in.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      std::memcpy(out.data() + static_cast<size_t>(c * rows + r) * size,
                  in.data() + static_cast<size_t>(r * cols + c) * size, size);
    }
  }
  return out;
}

}  // namespace

Result<std::shared_ptr<const QMatrix>> Model::load_matrix(size_t module) const {
  if (auto it = matrices_.find(module); it != matrices_.end()) return it->second;
  const Module& m = modules_[module];
  if (!stored_[module].has_value()) {
    return error(Code::kInvalidArgument, "module '%s' is not quantized", m.name.c_str());
  }
  return decode_module(module, *file_format_, *stored_[module]);
}

Result<std::shared_ptr<const QMatrix>> Model::decode_module(size_t module, const Format& format,
                                                            const StoredScheme& stored) const {
  const Module& m = modules_[module];
  // No part of any layout takes as much: a file may claim, and by holes have, what memory does not.
  const uint64_t most = 8 * static_cast<uint64_t>(m.rows) * static_cast<uint64_t>(m.cols) + 4096;
  Parts parts;
  for (const std::string_view name : format.part_names) {
    const TensorInfo* tensor = checkpoint_->find(m.name + "." + std::string(name));
    if (tensor == nullptr) continue;  // optional (zero points, g_idx); decode says when a part must not be missing
    if (tensor->bytes > most) {
      return error(Code::kBadFile, "%s: tensor '%s' has %llu bytes, too many for a matrix of %lld x %lld",
                   checkpoint_->dir().c_str(), tensor->name.c_str(), static_cast<unsigned long long>(tensor->bytes),
                   static_cast<long long>(m.rows), static_cast<long long>(m.cols));
    }
    Part part;
    part.name = name;
    part.dtype = tensor->dtype;
    part.shape = tensor->shape;
    part.bytes.resize(tensor->bytes);
    QZ_TRY(checkpoint_->read(*tensor, part.bytes.data()));
    parts.push_back(std::move(part));
  }
  Result<QMatrix> matrix = format.decode(parts, stored, m.rows, m.cols);
  if (!matrix.ok()) return matrix.status().with_prefix(checkpoint_->dir() + ": module '" + m.name + "'");
  return std::make_shared<const QMatrix>(std::move(*matrix));
}

Result<Matrix> Model::load_weight(size_t module) const {
  const Module& m = modules_[module];
  if (quantized(module)) {
    QZ_ASSIGN(const std::shared_ptr<const QMatrix> matrix, load_matrix(module));
    return dequantize(*matrix);
  }
  DType dtype = DType::kNone;
  QZ_ASSIGN(const std::vector<uint8_t> bytes, read_weight(module, &dtype));
  Matrix w(m.rows, m.cols);
  to_f32(bytes.data(), dtype, static_cast<size_t>(m.rows * m.cols), w.data());
  return w;
}

Result<std::vector<uint8_t>> Model::read_weight(size_t module, DType* dtype) const {
  const Module& m = modules_[module];
  if (coded(module)) {
    QZ_ASSIGN(const std::shared_ptr<const QMatrix> codes, decode_module(module, *source_format_, *coded_[module]));
    const Matrix w = dequantize(*codes);
    std::vector<uint8_t> bytes(static_cast<size_t>(m.rows * m.cols) * sizeof(float));
    std::memcpy(bytes.data(), w.data(), bytes.size());
    *dtype = DType::kF32;
    return bytes;
  }
  const bool tied_head = m.role == Role::kHead && config_.tied, stacked = !m.stack.empty();
  const std::string name = stacked ? m.stack : (tied_head ? std::string(arch_->embed) : m.name) + ".weight";
  const TensorInfo* tensor = checkpoint_->find(name);
  if (tensor == nullptr || (!stacked && tensor->elements() != m.rows * m.cols)) {
    return error(Code::kBadFile, "%s: tensor '%s' is missing or not %lld x %lld", checkpoint_->dir().c_str(),
                 name.c_str(), static_cast<long long>(m.rows), static_cast<long long>(m.cols));
  }
  *dtype = tensor->dtype;
  if (stacked) {
    const int64_t first = (m.expert * tensor->shape[1] + m.first_row) * m.cols;
    return read_finite(*checkpoint_, *tensor, first, m.rows * m.cols);
  }
  QZ_ASSIGN(std::vector<uint8_t> bytes, read_finite(*checkpoint_, *tensor));
  if (!m.transposed) return bytes;
  return transpose(bytes, m.cols, m.rows, dtype_bits(tensor->dtype) / 8);
}

void Model::will_need(size_t first, size_t end) const {
  for (size_t i = first; i < std::min(end, modules_.size()); ++i) {
    const TensorInfo* tensor = checkpoint_->find(modules_[i].name + ".weight");
    if (tensor != nullptr) checkpoint_->will_need(*tensor);
  }
}

Result<std::vector<float>> Model::load_bias(size_t module) const {
  const Module& m = modules_[module];
  if (m.role == Role::kHead && config_.tied) return std::vector<float>();
  return load_vector(m.name + ".bias", m.rows, false);
}

Result<std::vector<float>> Model::load_vector(const std::string& tensor_name, int64_t expected, bool required) const {
  if (const auto it = changed_.find(tensor_name); it != changed_.end()) return it->second;
  const TensorInfo* tensor = checkpoint_->find(tensor_name);
  if (tensor == nullptr) {
    if (!required) return std::vector<float>();
    return error(Code::kBadFile, "%s: tensor '%s' is missing", checkpoint_->dir().c_str(), tensor_name.c_str());
  }
  if (tensor->elements() != expected) {
    return error(Code::kBadFile, "%s: tensor '%s' must have %lld elements, found %lld", checkpoint_->dir().c_str(),
                 tensor_name.c_str(), static_cast<long long>(expected), static_cast<long long>(tensor->elements()));
  }
  return checkpoint_->read_f32(*tensor);
}

}  // namespace qz
