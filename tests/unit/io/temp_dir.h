// A directory of its own for each test, removed at the end; and safetensors files made by hand, right or wrong.
#pragma once
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace qz {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/qz-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(*this / name).parent_path());
    std::ofstream(*this / name, std::ios::binary) << text;
    return *this / name;
  }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline bool exists(const std::string& path) {
  struct stat s;
  return ::lstat(path.c_str(), &s) == 0;
}

inline std::string numbered(std::string stem, int i) { return stem.append(std::to_string(i)); }

inline std::string length_word(uint64_t n) {
  std::string word;
  for (int i = 0; i < 8; ++i) word.push_back(static_cast<char>(n >> (8 * i) & 255));
  return word;
}

// A file of this header, exactly as given, and this data.
inline std::string safetensors(const std::string& header, const std::string& data) {
  return length_word(header.size()) + header + data;
}

}  // namespace qz
