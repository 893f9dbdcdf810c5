// Models made and run by transformers (tests/data/goldens), and NumPy's array files that hold their logits.
#pragma once
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "model/session.h"

namespace qz {

inline const std::string kGoldenModels = "tests/data/goldens/models/";
inline const std::string kGoldenQuantized = "tests/data/goldens/quantized/";

template <class T>
struct Npy {
  std::vector<int64_t> shape;
  std::vector<T> data;
};

// Version 1 files of little-endian 4-byte values in C order, which is what the goldens are; empty when unreadable.
template <class T>
Npy<T> read_npy(const std::string& path) {
  static_assert(sizeof(T) == 4);
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  Npy<T> npy;
  if (all.size() < 10 || all.compare(0, 6, "\x93NUMPY") != 0) return npy;
  uint16_t header = 0;
  std::memcpy(&header, all.data() + 8, 2);
  const std::string words = all.substr(10, header);
  const size_t open = words.find('('), close = words.find(')');
  std::stringstream shape(words.substr(open + 1, close - open - 1));
  for (std::string dim; std::getline(shape, dim, ',');) {
    if (dim.find_first_of("0123456789") != std::string::npos) npy.shape.push_back(std::stoll(dim));
  }
  npy.data.resize((all.size() - 10 - header) / sizeof(T));
  std::memcpy(npy.data.data(), all.data() + 10 + header, npy.data.size() * sizeof(T));
  return npy;
}

struct Golden {
  Npy<int32_t> tokens;  // [batch][length]
  Npy<float> logits;    // [batch][length][vocab]
};
inline Golden read_golden(const std::string& dir) {
  return {read_npy<int32_t>(dir + "/tokens.npy"), read_npy<float>(dir + "/logits.npy")};
}

}  // namespace qz
