#include "base/sha256.h"

#include <sha2.h>

#include <cstdint>

namespace qz {

struct Sha256::State {
  SHA2_CTX context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { SHA256Init(&state_->context); }
Sha256::~Sha256() = default;

void Sha256::update(const void* data, size_t bytes) {
  if (bytes > 0) SHA256Update(&state_->context, static_cast<const uint8_t*>(data), bytes);
}

std::string Sha256::hex() {
  char digits[SHA256_DIGEST_STRING_LENGTH];
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256Final(digest, &state_->context);
  for (size_t i = 0; i < sizeof digest; ++i) {
    digits[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    digits[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  return std::string(digits, 2 * sizeof digest);
}

}  // namespace qz
