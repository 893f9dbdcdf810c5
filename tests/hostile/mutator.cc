#include "hostile/mutator.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace hostile {
namespace {

// Numbers around which overflow checks go wrong.
constexpr const char* kNumbers[] = {"0",
                                    "1",
                                    "-1",
                                    "7",
                                    "63",
                                    "65",
                                    "255",
                                    "256",
                                    "65535",
                                    "65536",
                                    "2147483647",
                                    "2147483648",
                                    "2147483649",
                                    "-2147483648",
                                    "4294967295",
                                    "4294967296",
                                    "4294967297",
                                    "281474976710656",
                                    "9007199254740991",
                                    "9007199254740993",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "-9223372036854775808",
                                    "18446744073709551615",
                                    "18446744073709551616",
                                    "4611686018427387904",
                                    "576460752303423488",
                                    "0.5",
                                    "1e3",
                                    "1e308",
                                    "-0.0",
                                    "1e-320"};

constexpr const char* kTokens[] = {"{",
                                   "}",
                                   "[",
                                   "]",
                                   ",",
                                   ":",
                                   "\"",
                                   "\\",
                                   "\\u0000",
                                   "\\ud800",
                                   "null",
                                   "true",
                                   "false",
                                   "NaN",
                                   "[]",
                                   "{}",
                                   "\"\"",
                                   "[[[[[[[[",
                                   "\"F32\"",
                                   "\"BF16\"",
                                   "\"I32\"",
                                   "\"F4\"",
                                   "\"X9\"",
                                   "\"dtype\":",
                                   "\"shape\":",
                                   "\"data_offsets\":",
                                   "\"__metadata__\":",
                                   "../",
                                   "/dev/zero",
                                   "-1",
                                   "re:.*",
                                   "(a*)*",
                                   "\"yarn\"",
                                   "\"dynamic\"",
                                   "\"llama3\"",
                                   "\"linear\"",
                                   "\"group\"",
                                   "\"channel\"",
                                   "\"tensor\"",
                                   "\"gptq\"",
                                   "\"gptq_p\"",
                                   "\"symmetric\": false,",
                                   "\"bits\": 8,",
                                   "\xEF\xBB\xBF",
                                   "\xC0\x80",
                                   "\n"};

constexpr uint64_t kWords[] = {0,
                               1,
                               0x7F,
                               0x80,
                               0xFF,
                               0x7FFF,
                               0xFFFF,
                               0x7FFFFFFF,
                               0x80000000,
                               0xFFFFFFFF,
                               0x100000000,
                               0x1000000000000,
                               0x7FFFFFFFFFFFFFFF,
                               0x8000000000000000,
                               0xFFFFFFFFFFFFFFFF,
                               0x7C007C007C007C00,
                               0x7FC07FC07FC07FC0};

template <class T, size_t n>
const T& pick(Mutator* random, const T (&list)[n]) {
  return list[random->below(n)];
}

}  // namespace

uint64_t Mutator::next() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

void Mutator::replace_number(std::string* text) {
  const size_t from = below(text->size());
  const auto digit = [&](size_t i) { return std::isdigit(static_cast<unsigned char>((*text)[i])) != 0; };
  size_t begin = from;
  while (begin < text->size() && !digit(begin)) ++begin;
  size_t end = begin;
  while (end < text->size() && digit(end)) ++end;
  text->replace(begin, end - begin, pick(this, kNumbers));
}

void Mutator::once(std::string* bytes, bool text) {
  if (bytes->empty()) return bytes->push_back(static_cast<char>(next()));
  const size_t at = below(bytes->size()), other = below(bytes->size());
  const size_t some = 1 + below(one_in(4) ? bytes->size() : 16);
  switch (below(text ? 10 : 8)) {
    case 0:
      (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << below(8)));
      break;
    case 1:
      (*bytes)[at] = static_cast<char>(next());
      break;
    case 2:
      bytes->resize(at);
      break;
    case 3:  // a slice twice
      bytes->insert(at, bytes->substr(other, some));
      break;
    case 4:
      bytes->erase(at, some);
      break;
    case 5:  // a slice over another place
      bytes->replace(at, std::min(some, bytes->size() - at), bytes->substr(other, some));
      break;
    case 6: {  // a little-endian word
      const uint64_t word = pick(this, kWords);
      const size_t size = size_t{1} << below(4);
      for (size_t i = 0; i < size && at + i < bytes->size(); ++i) (*bytes)[at + i] = static_cast<char>(word >> (8 * i));
      break;
    }
    case 7:
      if (text) return replace_number(bytes);
      bytes->append(bytes->substr(other, some));
      break;
    case 8:
      return replace_number(bytes);
    default:
      bytes->insert(at, pick(this, kTokens));
  }
}

std::string Mutator::damage(std::string bytes, bool text) {
  const uint64_t count = one_in(2) ? 1 : 1 + below(4);
  for (uint64_t i = 0; i < count; ++i) once(&bytes, text);
  return bytes;
}

}  // namespace hostile
