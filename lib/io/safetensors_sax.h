// The header of a safetensors file as parser events: no document is built, because a header may hold a million tensors.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/json_sax.h"
#include "io/safetensors.h"

namespace qz {

// The reference writer's JSON schema gives dimensions and offsets 48 bits.
inline constexpr uint64_t kMaxHeaderNumber = uint64_t{1} << 48;

class SafetensorsSax : public JsonSax {
 public:
  SafetensorsSax(const std::string& path, const Limits& limits) : JsonSax(path), limits_(limits) {}

  // In the order of the text; offset and bytes hold data_offsets[0] and [1] as written, dtype is not set.
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;

  // Fails when two of `list` (the tensors, still in the order of the text) have one name.
  Status check_duplicates(const std::vector<TensorInfo>& list) const;

  bool null() { return other("null"); }
  bool boolean(bool) { return other("a boolean"); }
  bool number_integer(number_integer_t v) { return other(std::to_string(v).c_str()); }  // negative
  bool number_float(number_float_t, const string_t& text) { return other(text.substr(0, 40).c_str()); }
  bool number_unsigned(number_unsigned_t v);
  bool string(string_t& v);
  bool start_object(size_t);
  bool key(string_t& v);
  bool end_object();
  bool start_array(size_t);
  bool end_array();

 private:
  enum class In { kNothing, kHeader, kMetadata, kTensor, kShape, kOffsets, kSkipped };
  enum class Field { kNone, kDType, kShape, kOffsets, kUnknown };

  bool refuse(const char* words);  // kBadFile with file, tensor or key, byte
  bool other(const char* what);    // a value that fits nowhere but in an unknown field
  std::string place() const;       // "tensor 'x', shape"

  const Limits limits_;
  std::vector<In> stack_;
  Field field_ = Field::kNone;
  uint32_t seen_ = 0;     // fields of the current tensor, bit per Field
  uint32_t offsets_ = 0;  // numbers read of the current data_offsets
  bool in_metadata_ = false, has_metadata_ = false;
  bool in_tensor_ = false;            // the current entry's name is that of tensors.back()
  std::vector<std::string> unknown_;  // names of unknown fields of the current tensor, to find duplicates
  std::string metadata_key_;
  std::vector<uint64_t> key_offsets_;  // per tensor
};

}  // namespace qz
