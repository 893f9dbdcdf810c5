#include "io/tokens.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/sha256.h"
#include "io/file.h"
#include "io/replace_file.h"

namespace qz {
namespace {

using ull = unsigned long long;

// The file, little-endian:  0 magic "QZTOKENS"  8 u32 version  12 u32 zero  16 u64 sequences  24 u64 tokens
//                          32 SHA-256 of the content, 64 hexadecimal digits  96 one zstd frame: the content
// The content: u64 length of each sequence, then all ids as i32.
constexpr char kMagic[] = "QZTOKENS";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeadBytes = 96;
constexpr uint64_t kMaxTokens = uint64_t{1} << 32;
constexpr uint64_t kMaxSequences = uint64_t{1} << 28;
constexpr int kLevel = 3;

void put(std::string* out, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(v >> (8 * i) & 255));
}

uint64_t get(const char* from, int bytes) {
  uint64_t v = 0;
  for (int i = bytes - 1; i >= 0; --i) v = v << 8 | static_cast<unsigned char>(from[i]);
  return v;
}

std::string content(const TokenSet& set) {
  std::string out;
  out.reserve(set.sequences.size() * 8 + static_cast<size_t>(set.tokens()) * 4);
  for (const auto& s : set.sequences) put(&out, s.size(), 8);
  for (const auto& s : set.sequences)
    for (int32_t id : s) put(&out, static_cast<uint32_t>(id), 4);
  return out;
}

std::string sha256(const std::string& bytes) {
  Sha256 sha;
  sha.update(bytes.data(), bytes.size());
  return sha.hex();
}

// Exactly one frame of exactly `expected` bytes. The buffer grows with what is really there, not with what the file
// claims.
Result<std::string> decompress(const std::string& path, const std::string& file, uint64_t expected) {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context) return Status(Code::kOutOfMemory, "out of memory");
  ZSTD_inBuffer in{file.data() + kHeadBytes, file.size() - kHeadBytes, 0};
  std::string out;
  std::string chunk(1u << 18, '\0');
  for (;;) {
    ZSTD_outBuffer piece{chunk.data(), chunk.size(), 0};
    const size_t consumed = in.pos;
    const size_t left = ZSTD_decompressStream(context.get(), &piece, &in);
    if (ZSTD_isError(left)) return error(Code::kBadFile, "%s: damaged: %s", path.c_str(), ZSTD_getErrorName(left));
    out.append(chunk, 0, piece.pos);
    if (out.size() > expected)
      return error(Code::kBadFile, "%s: damaged: more than the %llu bytes that its counts give", path.c_str(),
                   ull{expected});
    if (left == 0) break;
    if (piece.pos == 0 && in.pos == consumed)
      return error(Code::kBadFile, "%s: damaged: ends too early, at byte %zu", path.c_str(), file.size());
  }
  if (in.pos != in.size)
    return error(Code::kBadFile, "%s: %zu bytes follow the content", path.c_str(), in.size - in.pos);
  if (out.size() != expected)
    return error(Code::kBadFile, "%s: damaged: %zu bytes of content; its counts give %llu", path.c_str(), out.size(),
                 ull{expected});
  return out;
}

}  // namespace

std::string TokenSet::hash() const {
  std::string all = content({sequences, {}});
  if (embeddings.empty()) return sha256(all);
  Sha256 sha;
  sha.update(all.data(), all.size());
  for (const Matrix& m : embeddings) {
    std::string sides;
    put(&sides, static_cast<uint64_t>(m.rows()), 8);
    put(&sides, static_cast<uint64_t>(m.cols()), 8);
    sha.update(sides.data(), sides.size());
    sha.update(m.data(), static_cast<size_t>(m.rows() * m.cols()) * sizeof(float));
  }
  return sha.hex();
}

Status save_tokens(const TokenSet& set, const std::string& path) {
  if (!set.embeddings.empty())
    return error(Code::kUnsupported, "%s: a token file cannot hold the %zu sequences that are embeddings", path.c_str(),
                 set.embeddings.size());
  if (set.sequences.size() > kMaxSequences || static_cast<uint64_t>(set.tokens()) > kMaxTokens)
    return error(Code::kInvalidArgument, "%s: %zu sequences of %lld tokens; at most 2^28 of 2^32 can be stored",
                 path.c_str(), set.sequences.size(), static_cast<long long>(set.tokens()));
  const std::string raw = content(set);
  std::string file(kMagic, 8);
  put(&file, kVersion, 4);
  put(&file, 0, 4);
  put(&file, set.sequences.size(), 8);
  put(&file, static_cast<uint64_t>(set.tokens()), 8);
  file += sha256(raw);
  file.resize(kHeadBytes + ZSTD_compressBound(raw.size()));
  const size_t n = ZSTD_compress(file.data() + kHeadBytes, file.size() - kHeadBytes, raw.data(), raw.size(), kLevel);
  if (ZSTD_isError(n)) return error(Code::kInternal, "%s: cannot compress: %s", path.c_str(), ZSTD_getErrorName(n));
  file.resize(kHeadBytes + n);
  return replace_file(path, file);
}

Result<TokenSet> load_tokens(const std::string& path) {
  // Content that does not compress at all is the largest file there can be.
  QZ_ASSIGN(const std::string file,
            read_small_file(path, kHeadBytes + ZSTD_compressBound(kMaxTokens * 4 + kMaxSequences * 8)));
  if (file.size() < kHeadBytes || std::memcmp(file.data(), kMagic, 8) != 0)
    return error(Code::kBadFile, "%s: not a token file: expected it to begin with '%s'", path.c_str(), kMagic);
  if (const uint64_t version = get(file.data() + 8, 4); version != kVersion)
    return error(Code::kBadFile, "%s: token file version %llu; expected %u", path.c_str(), ull{version}, kVersion);
  if (get(file.data() + 12, 4) != 0)
    return error(Code::kBadFile, "%s: damaged: byte 12 to 15 are not zero", path.c_str());
  const uint64_t sequences = get(file.data() + 16, 8), tokens = get(file.data() + 24, 8);
  if (sequences > kMaxSequences || tokens > kMaxTokens)
    return error(Code::kBadFile, "%s: %llu sequences of %llu tokens; at most 2^28 of 2^32 are allowed", path.c_str(),
                 ull{sequences}, ull{tokens});
  QZ_ASSIGN(const std::string raw, decompress(path, file, sequences * 8 + tokens * 4));
  if (sha256(raw) != file.substr(32, 64))
    return error(Code::kBadFile, "%s: damaged: its SHA-256 does not match", path.c_str());

  uint64_t left = tokens;  // checked before any sequence is allocated
  for (uint64_t i = 0; i < sequences; ++i) {
    const uint64_t length = get(raw.data() + i * 8, 8);
    if (length > left)
      return error(Code::kBadFile, "%s: the sequences are longer than the %llu tokens", path.c_str(), ull{tokens});
    left -= length;
  }
  if (left != 0) return error(Code::kBadFile, "%s: %llu tokens belong to no sequence", path.c_str(), ull{left});
  TokenSet set;
  set.sequences.resize(static_cast<size_t>(sequences));
  const char* at = raw.data() + sequences * 8;
  for (uint64_t i = 0; i < sequences; ++i) {
    auto& s = set.sequences[static_cast<size_t>(i)];
    s.resize(static_cast<size_t>(get(raw.data() + i * 8, 8)));
    for (int32_t& id : s) {
      id = static_cast<int32_t>(static_cast<uint32_t>(get(at, 4)));
      at += 4;
    }
  }
  return set;
}

}  // namespace qz
