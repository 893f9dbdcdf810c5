#include "io/safetensors_sax.h"

#include <algorithm>
#include <numeric>

namespace qz {
namespace {

// Real files have a handful; without a cap a header of 100 MB could hold ten million.
constexpr size_t kMaxMetadata = 1u << 16;
// Fields per tensor beyond the three known ones.
constexpr size_t kMaxUnknownFields = 64;
constexpr size_t kMaxDTypeName = 64;
constexpr size_t kMaxDepth = 3;  // header, tensor, array

using ull = unsigned long long;

}  // namespace

std::string SafetensorsSax::place() const {
  if (in_metadata_)
    return "__metadata__" + (metadata_key_.empty() ? "" : ", key '" + metadata_key_.substr(0, 200) + "'");
  if (!in_tensor_) return "header";
  std::string text = "tensor '" + tensors.back().name + "'";
  if (field_ == Field::kDType) text += ", dtype";
  if (field_ == Field::kShape) text += ", shape";
  if (field_ == Field::kOffsets) text += ", data_offsets";
  return text;
}

bool SafetensorsSax::refuse(const char* words) {
  return fail(
      error(Code::kBadFile, "%s: %s: %s (at byte %zu of the header)", file(), place().c_str(), words, offset()));
}

bool SafetensorsSax::other(const char* what) {
  const In in = stack_.empty() ? In::kNothing : stack_.back();
  if (in == In::kSkipped || (in == In::kTensor && field_ == Field::kUnknown)) return true;
  const char* expected = "a tensor's object";
  if (in == In::kNothing) expected = "an object";
  if (in == In::kMetadata) expected = "a string";
  if (in == In::kShape || in == In::kOffsets) expected = "an integer from 0 to 2^48";
  if (in == In::kTensor) expected = field_ == Field::kDType ? "a string" : "an array of integers";
  return refuse((std::string("expected ") + expected + ", found " + what).c_str());
}

bool SafetensorsSax::number_unsigned(number_unsigned_t v) {
  const In in = stack_.empty() ? In::kNothing : stack_.back();
  if (in != In::kShape && in != In::kOffsets) return other("a number");
  if (v > kMaxHeaderNumber) return other(std::to_string(v).c_str());
  TensorInfo& t = tensors.back();
  if (in == In::kShape) {
    if (t.shape.size() >= limits_.dims)
      return refuse(("more than " + std::to_string(limits_.dims) + " dimensions").c_str());
    t.shape.push_back(static_cast<int64_t>(v));
    return true;
  }
  if (offsets_ == 2) return refuse("expected two numbers, found more");
  (offsets_ == 0 ? t.offset : t.bytes) = v;
  ++offsets_;
  return true;
}

bool SafetensorsSax::string(string_t& v) {
  const In in = stack_.empty() ? In::kNothing : stack_.back();
  if (in == In::kMetadata) {
    metadata.emplace(metadata_key_, std::move(v));
    metadata_key_.clear();
    return true;
  }
  if (in != In::kTensor || field_ != Field::kDType) return other("a string");
  if (v.empty() || v.size() > kMaxDTypeName || v.find('\0') != std::string::npos) return refuse("not a dtype's name");
  tensors.back().dtype_name = std::move(v);
  return true;
}

bool SafetensorsSax::start_object(size_t) {
  if (stack_.size() >= kMaxDepth) return refuse("nested deeper than 3 levels");
  const In in = stack_.empty() ? In::kNothing : stack_.back();
  if (in == In::kNothing) {
    stack_.push_back(In::kHeader);
    return true;
  }
  if (in == In::kHeader) {
    stack_.push_back(in_metadata_ ? In::kMetadata : In::kTensor);
    field_ = Field::kNone;
    seen_ = 0;
    unknown_.clear();
    return true;
  }
  if (!other("an object")) return false;
  stack_.push_back(In::kSkipped);
  return true;
}

bool SafetensorsSax::key(string_t& v) {
  const In in = stack_.back();
  if (in == In::kSkipped) return true;
  if (in == In::kHeader) {
    in_tensor_ = false;
    if (v == "__metadata__") {
      if (has_metadata_) return refuse("__metadata__ occurs twice");
      in_metadata_ = has_metadata_ = true;
      return true;
    }
    if (v.size() > limits_.name_bytes)
      return refuse(("a tensor's name has " + std::to_string(v.size()) + " bytes; at most " +
                     std::to_string(limits_.name_bytes) + " are allowed")
                        .c_str());
    if (v.find('\0') != std::string::npos) return refuse("a tensor's name contains a NUL character");
    if (tensors.size() >= limits_.tensors_per_file)
      return refuse(("more than " + std::to_string(limits_.tensors_per_file) + " tensors").c_str());
    tensors.emplace_back();
    tensors.back().name = std::move(v);
    key_offsets_.push_back(offset());
    in_tensor_ = true;
    field_ = Field::kNone;
    return true;
  }
  if (in == In::kMetadata) {
    metadata_key_ = std::move(v);
    if (metadata.count(metadata_key_)) return refuse("the key occurs twice");
    if (metadata.size() >= kMaxMetadata) return refuse("more than 65536 entries");
    return true;
  }
  field_ = v == "dtype"          ? Field::kDType
           : v == "shape"        ? Field::kShape
           : v == "data_offsets" ? Field::kOffsets
                                 : Field::kUnknown;
  if (field_ == Field::kUnknown) {  // a later version of the format may add some
    if (std::find(unknown_.begin(), unknown_.end(), v) != unknown_.end())
      return refuse(("field '" + v.substr(0, 200) + "' occurs twice").c_str());
    if (unknown_.size() >= kMaxUnknownFields) return refuse("more than 64 unknown fields");
    unknown_.push_back(std::move(v));
    return true;
  }
  const uint32_t bit = 1u << static_cast<uint32_t>(field_);
  if (seen_ & bit) return refuse("the field occurs twice");
  seen_ |= bit;
  return true;
}

bool SafetensorsSax::end_object() {
  const In in = stack_.back();
  if (in == In::kTensor) {
    field_ = Field::kNone;
    for (const auto& [field, name] :
         {std::pair{Field::kDType, "dtype"}, {Field::kShape, "shape"}, {Field::kOffsets, "data_offsets"}})
      if (!(seen_ & 1u << static_cast<uint32_t>(field))) return refuse((std::string(name) + " is missing").c_str());
  }
  stack_.pop_back();
  if (in == In::kMetadata) in_metadata_ = false;
  return true;
}

bool SafetensorsSax::start_array(size_t) {
  if (stack_.size() >= kMaxDepth) return refuse("nested deeper than 3 levels");
  const In in = stack_.empty() ? In::kNothing : stack_.back();
  if (in == In::kTensor && field_ == Field::kShape) {
    stack_.push_back(In::kShape);
    return true;
  }
  if (in == In::kTensor && field_ == Field::kOffsets) {
    offsets_ = 0;
    stack_.push_back(In::kOffsets);
    return true;
  }
  if (!other("an array")) return false;
  stack_.push_back(In::kSkipped);
  return true;
}

bool SafetensorsSax::end_array() {
  if (stack_.back() == In::kOffsets && offsets_ != 2)
    return refuse(("expected two numbers, found " + std::to_string(offsets_)).c_str());
  stack_.pop_back();
  return true;
}

Status SafetensorsSax::check_duplicates(const std::vector<TensorInfo>& list) const {
  std::vector<uint32_t> order(list.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const int c = list[a].name.compare(list[b].name);
    return c != 0 ? c < 0 : a < b;
  });
  for (size_t i = 1; i < order.size(); ++i) {
    if (list[order[i - 1]].name != list[order[i]].name) continue;
    return error(Code::kBadFile, "%s: tensor '%s' occurs twice, at bytes %llu and %llu of the header", file(),
                 list[order[i]].name.c_str(), ull{key_offsets_[order[i - 1]]}, ull{key_offsets_[order[i]]});
  }
  return {};
}

}  // namespace qz
