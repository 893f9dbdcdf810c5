// Reads the goldens: tensors that the upstream tools wrote (tests/data/goldens/README.md).
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>

#include "format/format.h"
#include "io/safetensors.h"

namespace qz {

using Tensors = std::map<std::string, Part>;  // full name -> tensor; Part::name is set by whoever takes one

inline Tensors read_tensors(const std::string& path) {
  Tensors tensors;
  Result<std::shared_ptr<File>> file = File::open(path);
  EXPECT_TRUE(file.ok()) << file.status().text();
  if (!file.ok()) return tensors;
  Result<SafetensorsHeader> header = read_safetensors_header(**file, {});
  EXPECT_TRUE(header.ok()) << header.status().text();
  if (!header.ok()) return tensors;
  for (const TensorInfo& t : header->tensors) {
    Part& part = tensors[t.name];
    part.dtype = t.dtype;
    part.shape = t.shape;
    part.bytes.resize(t.bytes);
    EXPECT_TRUE((*file)->read_at(t.offset, part.bytes.data(), t.bytes).ok());
  }
  return tensors;
}

template <class T>
std::vector<T> values(const Part& part) {
  std::vector<T> v(part.bytes.size() / sizeof(T));
  std::memcpy(v.data(), part.bytes.data(), part.bytes.size());
  return v;
}

// The parts of one module, under their local names.
inline Parts parts_of(const Tensors& tensors, const Format& f, const std::string& prefix) {
  Parts parts;
  for (std::string_view name : f.part_names)
    if (auto it = tensors.find(prefix + std::string(name)); it != tensors.end()) {
      parts.push_back(it->second);
      parts.back().name = name;
    }
  return parts;
}

}  // namespace qz
