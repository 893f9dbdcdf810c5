// Seeded damage: the same seed gives the same mutant on every machine.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hostile {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}

  uint64_t next();  // splitmix64
  uint64_t below(uint64_t n) { return n == 0 ? 0 : next() % n; }
  bool one_in(uint64_t n) { return below(n) == 0; }

  // One to four defects: bits, bytes, tokens of the dictionary, numbers at boundaries, cuts, copies, swaps.
  std::string damage(std::string bytes, bool text);

 private:
  void once(std::string* bytes, bool text);
  void replace_number(std::string* text);

  uint64_t state_;
};

}  // namespace hostile
