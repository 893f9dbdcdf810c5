// SHA-256 (FIPS 180-4), from libmd, with the instructions for it where the CPU has them.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

namespace qz {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void* data, size_t bytes);
  std::string hex();  // 64 lower-case digits; ends the computation

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qz
