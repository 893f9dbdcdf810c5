// What lies in memory at one moment of a run, beside what was there before it.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "estimate/count.h"

namespace qz {

struct Moment {
  std::string name;  // "calibrating"
  std::vector<std::pair<std::string, Count>> parts = {};

  // `count` blocks of `each` bytes.
  void add(const std::string& what, Count each, int64_t count = 1) {
    if (count <= 0 || each.value() == 0) return;
    const Count bytes = each * Count(count);
    for (auto& part : parts)
      if (part.first == what) {
        part.second += bytes;
        return;
      }
    parts.push_back({what, bytes});
  }
  Count total() const {
    Count sum;
    for (const auto& part : parts) sum += part.second;
    return sum;
  }
};

inline Count floats(int64_t rows, int64_t cols) { return Count(rows) * Count(cols) * Count(sizeof(float)); }

}  // namespace qz
