// What can go wrong, inside the library: a code and one line of words. The values equal qz_status (lib/api checks
// that).
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace qz {

enum class Code : int32_t {
  kOk = 0,
  kInvalidArgument = 1,
  kUnsupported = 2,
  kOutOfMemory = 3,
  kIo = 4,
  kBadFile = 5,
  kDevice = 6,
  kNumeric = 7,
  kCancelled = 8,
  kBufferTooSmall = 9,
  kBusy = 10,
  kMismatch = 11,
  kInternal = 12,
};

// A failure in words says what a person needs to act: file, tensor or key, what was expected, what was found. One line,
// no trailing dot or newline. Success carries no string and costs no allocation.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string text) : code_(code), text_(std::move(text)) {}
  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& text() const { return text_; }
  // The same failure with "prefix: " in front of its words.
  Status with_prefix(const std::string& prefix) const { return ok() ? *this : Status(code_, prefix + ": " + text_); }

 private:
  Code code_ = Code::kOk;
  std::string text_;
};

// printf-style constructor: return error(Code::kBadFile, "%s: header is %zu bytes", name, n);
Status error(Code code, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A value or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit, so that functions can return T
  Result(Status status) : value_(std::move(status)) {}  // NOLINT: implicit, so that functions can return error(...)
  bool ok() const { return std::holds_alternative<T>(value_); }
  T& operator*() { return std::get<T>(value_); }
  const T& operator*() const { return std::get<T>(value_); }
  T* operator->() { return &std::get<T>(value_); }
  const T* operator->() const { return &std::get<T>(value_); }
  Status status() const { return ok() ? Status() : std::get<Status>(value_); }

 private:
  std::variant<T, Status> value_;
};

}  // namespace qz

#define QZ_CONCAT_(a, b) a##b
#define QZ_CONCAT(a, b) QZ_CONCAT_(a, b)

// QZ_TRY(status_expression): return the failure, if it is one.
#define QZ_TRY(expr)                                   \
  do {                                                 \
    if (::qz::Status s_ = (expr); !s_.ok()) return s_; \
  } while (0)

// QZ_ASSIGN(auto x, result_expression): x is the value, or the failure is returned.
#define QZ_ASSIGN(lhs, expr) QZ_ASSIGN_(QZ_CONCAT(result_, __LINE__), lhs, expr)
#define QZ_ASSIGN_(tmp, lhs, expr)    \
  auto tmp = (expr);                  \
  if (!tmp.ok()) return tmp.status(); \
  lhs = std::move(*tmp)
