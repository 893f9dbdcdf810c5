// A count of bytes that knows when it is wrong: sums and products that do not fit 64 bits make it invalid for good.
#pragma once
#include <cstdint>

#include "base/checked.h"

namespace qz {

class Count {
 public:
  Count(uint64_t value = 0) : value_(value) {}                                        // NOLINT: numbers are counts
  Count(int64_t value) : value_(static_cast<uint64_t>(value)), valid_(value >= 0) {}  // NOLINT
  Count(uint32_t value) : value_(value) {}                                            // NOLINT
  Count(int value) : Count(static_cast<int64_t>(value)) {}                            // NOLINT

  bool valid() const { return valid_; }
  uint64_t value() const { return value_; }

  Count& operator+=(Count o) {
    valid_ = checked_add(value_, o.value_, &value_) && valid_ && o.valid_;
    return *this;
  }
  Count& operator*=(Count o) {
    valid_ = checked_mul(value_, o.value_, &value_) && valid_ && o.valid_;
    return *this;
  }
  friend Count operator+(Count a, Count b) { return a += b; }
  friend Count operator*(Count a, Count b) { return a *= b; }
  // Rounded up; by zero: invalid.
  Count per(Count n) const {
    Count out;
    out.valid_ = valid_ && n.valid_ && n.value_ != 0;
    if (out.valid_) out.value_ = value_ / n.value_ + (value_ % n.value_ != 0);
    return out;
  }
  friend bool operator<(Count a, Count b) { return a.value_ < b.value_; }

 private:
  uint64_t value_ = 0;
  bool valid_ = true;
};

}  // namespace qz
