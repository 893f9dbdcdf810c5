// The floating-point mode of a task. A host may have set flush-to-zero or another rounding on its own thread; tasks on
// that thread and on ours must give the same bits, so each runs in the default mode and the host's is put back.
#pragma once
#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#else
#include <cfenv>
#endif

namespace qz {

class FloatMode {
 public:
#if defined(__x86_64__)
  FloatMode() : before_(_mm_getcsr()) {
    if (before_ != kDefault) _mm_setcsr(kDefault);
  }
  ~FloatMode() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
  FloatMode() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    if (before_ != kDefault) set(kDefault);
  }
  ~FloatMode() { set(before_); }
#else
  FloatMode() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatMode() { std::fesetenv(&before_); }
#endif
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr unsigned kDefault = 0x1F80;  // all exceptions masked, nearest, no flushing of denormals
  const unsigned before_;
#elif defined(__aarch64__)
  // No traps, nearest, no flushing of denormals, and bfloat16 products that are the same on every Arm that has them
  // (docs/numerics.md). The C library's default would leave the last of these as it is.
  static constexpr uint64_t kDefault = 0;
  static void set(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
  uint64_t before_;
#else
  std::fenv_t before_;
#endif
};

}  // namespace qz
