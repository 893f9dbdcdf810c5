// A model directory in memory, taken from a golden, so that one thing can be broken before it is written.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hostile {

using Json = nlohmann::ordered_json;

constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

struct Tensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

class ModelFiles {
 public:
  // "models/llama-tied": what libqz reads of tests/data/goldens/<name>.
  static ModelFiles golden(const std::string& name);
  // What libqz reads of any directory.
  static ModelFiles load(const std::string& dir);

  std::map<std::string, std::string> files;  // name -> bytes

  // Edits that fail the test when they do not apply: a case that breaks nothing would prove nothing.
  void replace(const std::string& file, const std::string& from, const std::string& to);
  void json(const std::string& file, const std::function<void(Json*)>& edit);
  void config(const std::function<void(Json*)>& edit) { json("config.json", edit); }
  // The JSON text of a safetensors header; the length in front of it is made right again.
  void header(const std::function<void(std::string*)>& edit, const std::string& file = kSingle);
  void in_header(const std::string& from, const std::string& to, const std::string& file = kSingle);
  void header_length(uint64_t bytes);  // of model.safetensors; a lie
  // Tensors of one file, in the order of their bytes; offsets are made right again.
  void tensors(const std::function<void(std::vector<Tensor>*)>& edit, const std::string& file = kSingle);
  void tensor(const std::string& name, const std::function<void(Tensor*)>& edit, const std::string& file = kSingle);
  void remove_tensor(const std::string& name);

  void write(const std::string& dir) const;
};

// The 16-bit element i of a tensor.
void set_half(Tensor* tensor, size_t i, uint16_t bits);
void set_int(Tensor* tensor, size_t i, int32_t value);
std::string make_safetensors(const std::vector<Tensor>& tensors);
std::vector<Tensor> read_safetensors(const std::string& file);

}  // namespace hostile
