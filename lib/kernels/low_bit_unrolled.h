// A loop that is written out at compile time, for the files with vector instructions: in an unnamed namespace, since
// code compiled for a newer instruction set must not reach the linker under a name that another file also uses.
#pragma once

#define QZ_INLINE __attribute__((always_inline))

namespace qz {
namespace {

template <int kFrom, int kTo, class Body>
inline QZ_INLINE void unrolled(const Body& body) {
  if constexpr (kFrom < kTo) {
    body.template operator()<kFrom>();
    unrolled<kFrom + 1, kTo>(body);
  }
}

}  // namespace
}  // namespace qz
