// Put before every source of ggml: gcc 12's _tile_loadconfig(&config) names only the first 8 of the configuration's 64
// bytes as what it reads, so the stores to a local one may be dropped, as in ggml's AMX path, whose first product then
// ends in an illegal instruction. The peer is measured as its authors meant it.
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
struct whole_tile_config {
  char bytes[64];
};
static inline void load_whole_tile_config(const void* config) {
  __asm__ volatile("ldtilecfg %0" ::"m"(*(const struct whole_tile_config*)config));
}
#define _tile_loadconfig load_whole_tile_config
#endif
