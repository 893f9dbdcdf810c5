// The safetensors container: header rules and limits of the reference reader, and stricter where it is lenient
// (https://github.com/huggingface/safetensors, "Format"): duplicates, holes, overlaps and trailing bytes are refused.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "io/file.h"
#include "tensor/dtype.h"

namespace qz {

struct StoredForm;

struct TensorInfo {
  std::string name;
  DType dtype = DType::kNone;  // kOther: listed and copied, not usable
  std::string dtype_name;      // as in the file
  std::vector<int64_t> shape;
  uint64_t offset = 0, bytes = 0;  // from the start of the file
  uint32_t file = 0;               // index into Checkpoint::files(); 0 for a single file
  // How its bytes lie in the file, if not as they are shown (io/stored_form.h); null in safetensors.
  std::shared_ptr<const StoredForm> form = nullptr;
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;              // in file order
  std::map<std::string, std::string> metadata;  // __metadata__
  uint64_t data_start = 0;
};

// Reads and checks the header of `file`; the data section must end exactly at the end of the file.
Result<SafetensorsHeader> read_safetensors_header(const File& file, const Limits& limits);

// The header bytes (length word included, padded to 8) for tensors laid out back to back in the given order, and each
// tensor's offset within the data section. metadata is {"format": "pt"} and what is in `metadata`.
struct TensorSpec {
  std::string name;
  std::string dtype_name;  // "BF16" …
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
};
std::string make_safetensors_header(const std::vector<TensorSpec>& tensors,
                                    const std::map<std::string, std::string>& metadata);
// The reference writer's order: dtype rank descending, then name ascending.
void sort_like_reference(std::vector<TensorSpec>* tensors);

}  // namespace qz
