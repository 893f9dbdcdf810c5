#include "kernels/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace qz {
namespace {

// What LDTILECFG reads (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 18.2).
struct Configuration {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Configuration) == 64);

constexpr unsigned kTileBits = 3u << 17;  // TILECFG and TILEDATA in XCR0
constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAmxInt8 = 1u << 25, kOsXsave = 1u << 27;
constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA

unsigned saved_state() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Empty: they may be used.
std::string ask() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & kAmxTile)) return "this CPU has no AMX tiles";
  if (!(d & kAmxBf16) || !(d & kAmxInt8)) return "this CPU's AMX tiles lack bfloat16 or int8";
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsXsave) || (saved_state() & kTileBits) != kTileBits) {
    return "the system does not save AMX tiles when it switches threads";
  }
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return "";
  // ENOSPC: some thread's signal stack could not hold them. EINVAL: Linux before 5.16.
  return std::string("the system refused AMX tiles: ") + std::strerror(errno);
}

}  // namespace

const char* amx_missing() {
  static const std::string answer = ask();
  return answer.empty() ? nullptr : answer.c_str();
}

// In assembler, because GCC 12's _tile_loadconfig names only the first 8 bytes of what it reads.
AmxTiles::AmxTiles(int64_t rows) {
  const auto some = static_cast<uint8_t>(rows);
  const Configuration configuration = {
      1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {some, some, some, some, some, 16, 16, 16}};
  __asm__ volatile("ldtilecfg %0" : : "m"(configuration));
}
AmxTiles::~AmxTiles() { __asm__ volatile("tilerelease"); }

}  // namespace qz

#else

namespace qz {

const char* amx_missing() { return "this CPU has no AMX tiles"; }
AmxTiles::AmxTiles(int64_t) {}
AmxTiles::~AmxTiles() = default;

}  // namespace qz

#endif
