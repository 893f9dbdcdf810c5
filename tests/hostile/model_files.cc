#include "hostile/model_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "unit/io/temp_dir.h"

namespace hostile {
namespace {

uint64_t header_bytes(const std::string& file) {
  uint64_t n = 0;
  std::memcpy(&n, file.data(), 8);
  return n;
}

}  // namespace

ModelFiles ModelFiles::load(const std::string& dir) {
  ModelFiles model;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename();
    const std::string end = entry.path().extension();
    if (name.find(".safetensors") == std::string::npos && end != ".json" && end != ".gguf") continue;
    model.files[name] = qz::slurp(entry.path());
  }
  EXPECT_TRUE(model.files.count("config.json") || model.files.count("model.gguf")) << dir;
  return model;
}

ModelFiles ModelFiles::golden(const std::string& name) { return load("tests/data/goldens/" + name); }

void ModelFiles::replace(const std::string& file, const std::string& from, const std::string& to) {
  std::string& text = files[file];
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << "'" << from << "' is not in " << file;
  text.replace(at, from.size(), to);
}

void ModelFiles::json(const std::string& file, const std::function<void(Json*)>& edit) {
  Json json = Json::parse(files.at(file));
  const Json before = json;
  edit(&json);
  ASSERT_NE(json, before) << file;
  files[file] = json.dump(2);
}

void ModelFiles::header(const std::function<void(std::string*)>& edit, const std::string& file) {
  std::string& bytes = files.at(file);
  std::string text = bytes.substr(8, header_bytes(bytes));
  const std::string data = bytes.substr(8 + text.size()), before = text;
  edit(&text);
  ASSERT_NE(text, before) << file;
  bytes = qz::safetensors(text, data);
}

void ModelFiles::in_header(const std::string& from, const std::string& to, const std::string& file) {
  header(
      [&](std::string* text) {
        const size_t at = text->find(from);
        ASSERT_NE(at, std::string::npos) << "'" << from << "' is not in the header of " << file;
        text->replace(at, from.size(), to);
      },
      file);
}

void ModelFiles::header_length(uint64_t bytes) { files.at(kSingle).replace(0, 8, qz::length_word(bytes)); }

std::vector<Tensor> read_safetensors(const std::string& file) {
  const uint64_t n = header_bytes(file);
  std::vector<std::pair<uint64_t, Tensor>> found;
  const Json header = Json::parse(file.substr(8, n));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const uint64_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    found.emplace_back(begin, Tensor{name, entry["dtype"], entry["shape"].get<std::vector<int64_t>>(),
                                     file.substr(8 + n + begin, end - begin)});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Tensor> tensors;
  for (auto& [begin, tensor] : found) tensors.push_back(std::move(tensor));
  return tensors;
}

std::string make_safetensors(const std::vector<Tensor>& tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const Tensor& t : tensors) {
    header[t.name] = {
        {"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
    data += t.bytes;
  }
  return qz::safetensors(header.dump(), data);
}

void ModelFiles::tensors(const std::function<void(std::vector<Tensor>*)>& edit, const std::string& file) {
  std::vector<Tensor> all = read_safetensors(files.at(file));
  edit(&all);
  files[file] = make_safetensors(all);
}

void ModelFiles::tensor(const std::string& name, const std::function<void(Tensor*)>& edit, const std::string& file) {
  tensors(
      [&](std::vector<Tensor>* all) {
        const auto it = std::find_if(all->begin(), all->end(), [&](const Tensor& t) { return t.name == name; });
        ASSERT_NE(it, all->end()) << name;
        edit(&*it);
      },
      file);
}

void ModelFiles::remove_tensor(const std::string& name) {
  tensors([&](std::vector<Tensor>* all) {
    const auto it = std::find_if(all->begin(), all->end(), [&](const Tensor& t) { return t.name == name; });
    ASSERT_NE(it, all->end()) << name;
    all->erase(it);
  });
}

void ModelFiles::write(const std::string& dir) const {
  std::filesystem::create_directories(dir);
  for (const auto& [name, bytes] : files) std::ofstream(dir + "/" + name, std::ios::binary) << bytes;
}

void set_half(Tensor* tensor, size_t i, uint16_t bits) {
  ASSERT_LE(2 * i + 2, tensor->bytes.size());
  std::memcpy(tensor->bytes.data() + 2 * i, &bits, 2);
}

void set_int(Tensor* tensor, size_t i, int32_t value) {
  ASSERT_LE(4 * i + 4, tensor->bytes.size());
  std::memcpy(tensor->bytes.data() + 4 * i, &value, 4);
}

}  // namespace hostile
