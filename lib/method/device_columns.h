// The GPTQ loop (method/columns.h) on a device of a backend.
#pragma once
#include <cstdint>
#include <vector>

#include "backend/plugin.h"
#include "method/hessian.h"
#include "method/lattice.h"
#include "method/range.h"

namespace qz {

// Codes [rows][cols] in group order, as solve_columns() gives them without a metric and with blocks of 128 columns; the
// backend's sums between blocks may differ in the last bit. Everything is moved there and back: the result is complete
// when it returns. kUnsupported with words: the backend does not have the operation, or the points are a table's; the
// CPU's loop has both.
Result<std::vector<uint8_t>> solve_columns_on(const Backend& backend, qz_device device, MatrixView target,
                                              const HessianFactor& factor, const Grid& grid, const Lattice& lattice);

}  // namespace qz
