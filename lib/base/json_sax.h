// What the two SAX handlers (documents, safetensors headers) share: running nlohmann's parser over untrusted bytes
// while knowing where it is, and turning its complaint into one line.
#pragma once
#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace qz {

// Walks over the text and tells how far the parser has read, which its events do not say.
class TellingIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TellingIterator(const char* at, const char** tell) : at_(at), tell_(tell) {}
  reference operator*() const { return *at_; }
  TellingIterator& operator++() {
    *tell_ = ++at_;
    return *this;
  }
  TellingIterator operator++(int) {
    TellingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TellingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TellingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** tell_;
};

// A handler derives from this. Each event returns true to go on; fail() keeps the reason and stops.
class JsonSax {
 public:
  explicit JsonSax(std::string file) : file_(std::move(file)) {}
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e);
  bool binary(binary_t&) { return fail(error(Code::kInternal, "%s: binary value in JSON text", file_.c_str())); }

 protected:
  bool fail(Status status) {
    status_ = std::move(status);
    return false;
  }
  // Bytes read so far: the end of the token of the current event.
  size_t offset() const { return static_cast<size_t>(tell_ - begin_); }
  const char* file() const { return file_.c_str(); }

 private:
  template <class Sax>
  friend Status run_json_sax(std::string_view text, Sax* sax);

  std::string file_;
  Status status_;
  const char* begin_ = nullptr;
  const char* tell_ = nullptr;
};

// Refuses a byte-order mark (the parser would skip it), invalid UTF-8, comments, NaN and Infinity words, trailing
// characters.
template <class Sax>
Status run_json_sax(std::string_view text, Sax* sax) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF")
    return error(Code::kBadFile, "%s: starts with a byte-order mark; expected JSON in plain UTF-8", sax->file_.c_str());
  // The parser takes a NUL byte for the end of the text and would not see what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    return error(Code::kBadFile, "%s: not valid JSON at byte %zu: NUL byte", sax->file_.c_str(), nul + 1);
  sax->begin_ = sax->tell_ = text.data();
  const bool good = Json::sax_parse(TellingIterator(text.data(), &sax->tell_),
                                    TellingIterator(text.data() + text.size(), &sax->tell_), sax);
  if (!sax->status_.ok()) return sax->status_;
  if (!good) return error(Code::kBadFile, "%s: not valid JSON", sax->file_.c_str());
  return {};
}

}  // namespace qz
