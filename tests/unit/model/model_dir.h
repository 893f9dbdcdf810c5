// A copy of a golden model, taken apart so that a test can change one thing before it is written and opened.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/checkpoint.h"
#include "unit/io/temp_dir.h"
#include "unit/model/goldens.h"

namespace qz {

class ModelDir {
 public:
  struct Tensor {
    std::string name, dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };

  explicit ModelDir(const std::string& golden) {
    Result<std::shared_ptr<const Checkpoint>> source = Checkpoint::open(*make_context(1), kGoldenModels + golden);
    if (!source.ok()) ADD_FAILURE() << source.status().text();
    config = (*source)->config();
    for (const TensorInfo& info : (*source)->tensors()) {
      Tensor tensor{info.name, info.dtype_name, info.shape, std::string(info.bytes, '\0')};
      if (!(*source)->read(info, tensor.bytes.data()).ok()) ADD_FAILURE() << info.name;
      tensors.push_back(std::move(tensor));
    }
  }

  Json config;
  std::vector<Tensor> tensors;

  Tensor& at(const std::string& name) {
    for (Tensor& t : tensors) {
      if (t.name == name) return t;
    }
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }
  void remove(const std::string& name) {
    tensors.erase(std::remove_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == name; }),
                  tensors.end());
  }

  std::string path() const { return dir_.path(); }
  void write_file(const std::string& name, const std::string& text) const { dir_.write(name, text); }
  std::string write() const {
    std::vector<TensorSpec> specs;
    std::string data;
    for (const Tensor& t : tensors) {
      specs.push_back({t.name, t.dtype, t.shape, t.bytes.size()});
      data += t.bytes;
    }
    dir_.write("config.json", dump_json(config));
    dir_.write("model.safetensors", make_safetensors_header(specs, {}) + data);
    return dir_.path();
  }
  Result<ModelPtr> open(const ModelOptions& options = {}, ContextPtr context = make_context(1)) const {
    return Model::open(std::move(context), write(), options);
  }

 private:
  TempDir dir_;
};

// A failure of this code whose words contain each of these.
template <class T>
void expect_failure(const Result<T>& result, Code code, const std::vector<std::string>& words) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), code) << result.status().text();
  for (const std::string& word : words) {
    EXPECT_NE(result.status().text().find(word), std::string::npos)
        << "'" << word << "' in: " << result.status().text();
  }
  EXPECT_EQ(result.status().text().find('\n'), std::string::npos);
}

}  // namespace qz
