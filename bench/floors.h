// What this machine can do, measured in the process that prints it beside its results: bytes per second out of memory,
// and operations per second of each instruction that multiplies, its operands in registers.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"

namespace qz {

constexpr uint64_t kColdBytes = uint64_t{512} << 20;  // of weights that take turns, so that none is in a cache

double seconds_now();

// Bytes per second of reading by all threads of the context, the best of `sweeps` over kColdBytes.
double read_bandwidth(const Context& context, int sweeps = 10);

struct InstructionPeak {
  const char* name;     // "AVX-512 FMA"
  const char* factors;  // "f32" "bf16" "int8": of what it multiplies
  double flops;         // products and sums per second, all threads at once
};
// Those that this CPU has.
std::vector<InstructionPeak> instruction_peaks(const Context& context);
// Of the fastest of them for such factors; 0: none.
double best_peak(const Context& context, std::string_view factors);

}  // namespace qz
