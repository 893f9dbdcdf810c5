// A token file written by hand, right unless a field says otherwise: a head of 96 bytes, then one zstd frame (RFC 8878)
// with a raw block.
#pragma once
#include <sha256.h>

#include <cstdint>
#include <string>
#include <vector>

#include "unit/io/temp_dir.h"

namespace hostile {

inline std::string number(uint64_t v, size_t bytes) { return qz::length_word(v).substr(0, bytes); }

struct TokenFile {
  std::string magic = "QZTOKENS";
  uint64_t version = 1, zero = 0, sequences = 2, tokens = 100;
  std::vector<uint64_t> lengths = {60, 40};
  std::vector<int32_t> ids = std::vector<int32_t>(100, 7);

  std::string content() const {
    std::string out;
    for (const uint64_t n : lengths) out += number(n, 8);
    for (const int32_t id : ids) out += number(static_cast<uint32_t>(id), 4);
    return out;
  }
  std::string bytes() const { return bytes(content()); }
  // With other content, of 256 bytes to 64 KiB, whose checksum is right.
  std::string bytes(const std::string& text) const {
    char sha[SHA256_DIGEST_STRING_LENGTH];
    SHA256Data(reinterpret_cast<const uint8_t*>(text.data()), text.size(), sha);
    // A single segment, its size in two bytes that stand for size - 256, one raw block that is the last.
    const std::string frame =
        "\x28\xB5\x2F\xFD\x60" + number(text.size() - 256, 2) + number(text.size() << 3 | 1, 3) + text;
    return magic + number(version, 4) + number(zero, 4) + number(sequences, 8) + number(tokens, 8) + sha + frame;
  }
};

}  // namespace hostile
