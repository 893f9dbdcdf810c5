// The GGUF container, version 3 (and 2, whose bytes are laid out alike): keys with typed values, then tensors. Read
// with a check of every count, offset and length; written in one piece. Format: ggml's docs/gguf.md and gguf.cpp.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/limits.h"
#include "base/status.h"
#include "io/file.h"
#include "tensor/dtype.h"

namespace qz {

// A type of tensors: `elements` consecutive ones of a row take `bytes`. dtype is kOther for blocks.
struct GgufType {
  uint32_t id;
  const char* name;  // "Q4_K", as ggml says it
  uint32_t elements, bytes;
  DType dtype;
};
const GgufType* find_gguf_type(uint32_t id);  // nullptr: unknown
const GgufType& gguf_type(DType dtype);       // of F32, F16 or BF16

struct GgufTensor {
  std::string name;
  const GgufType* type = nullptr;
  std::vector<int64_t> shape;      // rows first: the file's dimensions the other way round
  uint64_t offset = 0, bytes = 0;  // from the start of the file
};

struct GgufHeader {
  Json metadata;  // an object: key -> number, bool, string or list of such
  std::vector<GgufTensor> tensors;
};

Result<GgufHeader> read_gguf_header(const File& file, const Limits& limits);

constexpr size_t kMostGgufParts = 1000;  // of a split file that is read

// Keys in the order in which they are added, then tensors back to back at multiples of 32 bytes.
class GgufBuilder {
 public:
  void add(std::string_view key, uint32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, bool value);
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, const std::vector<std::string>& values);
  void add(std::string_view key, const std::vector<int32_t>& values);
  void add(std::string_view key, const std::vector<float>& values);
  // Returns the index of the tensor.
  size_t add_tensor(std::string name, const GgufType& type, std::vector<int64_t> shape);

  struct File {
    std::string name, header;  // "model.gguf", or "model-00001-of-00003.gguf"; to be written at 0
    uint64_t bytes = 0;
  };
  struct Place {  // of a tensor
    size_t file = 0;
    uint64_t offset = 0, bytes = 0;  // from the start of the file
  };
  struct Layout {
    std::vector<File> files;
    std::vector<Place> places;
    uint64_t bytes() const;  // of all files
  };
  // One file, or several of at most `most` bytes of tensors each (a larger tensor has one of its own), all keys in the
  // first, as llama.cpp's gguf-split writes them. 0 = one.
  Layout finish(uint64_t most = 0) const;

 private:
  void begin(std::string_view key, uint32_t type);
  void begin_list(std::string_view key, uint32_t type, size_t count);
  void text(std::string_view value);
  File make_file(const std::vector<size_t>& tensors, size_t index, size_t count, std::vector<Place>* places) const;

  std::string keys_;
  uint64_t key_count_ = 0;
  std::vector<GgufTensor> tensors_;
};

}  // namespace qz
