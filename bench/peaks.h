// What this machine can do at most, measured in the process that prints shares of it, by all threads at once.
#pragma once
#include "base/context.h"

namespace qz {

double read_bandwidth(const Context& context);  // bytes per second out of memory, best of five sweeps over 512 MB
// Operations per second, products and sums, with operands in registers or the first-level cache. bfloat16 and int8: of
// AMX tiles where there are some, else of the engine's best panels of 16 bits; int8 without tiles: 0, not measured.
double float_peak(const Context& context);
double bf16_peak(const Context& context);
double int8_peak(const Context& context);

}  // namespace qz
