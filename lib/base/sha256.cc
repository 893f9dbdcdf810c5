#include "base/sha256.h"

#include <sha2.h>

#include <algorithm>
#include <cstdint>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace qz {
namespace {

#if defined(__x86_64__)

alignas(16) constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

bool has_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0 && __builtin_cpu_supports("sse4.1");
}

// Whole blocks of 64 bytes by the instructions for it, some six times as fast as without.
__attribute__((target("sha,sse4.1"))) void compress(uint32_t* state, const uint8_t* data, size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const auto load = [](const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); };
  // The instructions want the words as ABEF and CDGH, A in the highest place.
  const __m128i badc = _mm_shuffle_epi32(load(state), 0xB1), hgfe = _mm_shuffle_epi32(load(state + 4), 0x1B);
  __m128i abef = _mm_alignr_epi8(badc, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, badc, 0xF0);
  for (; blocks > 0; blocks--, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++) {
      __m128i& now = w[g % 4];
      const __m128i next = w[(g + 1) % 4], far = w[(g + 2) % 4], last = w[(g + 3) % 4];
      if (g < 4) {
        now = _mm_shuffle_epi8(load(data + 16 * g), swap);
      } else {
        now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8(last, far, 4)), last);
      }
      const __m128i words = _mm_add_epi32(now, load(kRounds + 4 * g));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0E));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

// Takes what it can; returns how much.
size_t update_blocks(SHA2_CTX* context, const uint8_t* data, size_t bytes) {
  static const bool usable = has_instructions();
  if (!usable || context->bitcount[0] % 512 != 0) return 0;  // a block that is begun is finished by the library
  const size_t blocks = bytes / 64;
  compress(context->state.st32, data, blocks);
  context->bitcount[0] += uint64_t{blocks} * 512;
  return blocks * 64;
}

#else

size_t update_blocks(SHA2_CTX*, const uint8_t*, size_t) { return 0; }

#endif

}  // namespace

struct Sha256::State {
  SHA2_CTX context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { SHA256Init(&state_->context); }
Sha256::~Sha256() = default;

void Sha256::update(const void* data, size_t bytes) {
  SHA2_CTX* const context = &state_->context;
  const auto* from = static_cast<const uint8_t*>(data);
  const size_t begun = static_cast<size_t>(context->bitcount[0] / 8 % 64);
  if (const size_t rest = begun > 0 ? std::min(64 - begun, bytes) : 0; rest > 0) {
    SHA256Update(context, from, rest);
    from += rest, bytes -= rest;
  }
  const size_t done = update_blocks(context, from, bytes);
  if (bytes > done) SHA256Update(context, from + done, bytes - done);
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
