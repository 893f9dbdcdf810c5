// What the formats share when they read and write the tensors of a module.
#pragma once
#include <string_view>
#include <vector>

#include "format/format.h"

namespace qz {

const Part* find_part(const Parts& parts, std::string_view name);
// The part `name`, of one of `dtypes`, of exactly one of `shapes`, with as many bytes as they ask for. kBadFile
// otherwise.
Result<const Part*> take_part(const Parts& parts, std::string_view name, const std::vector<DType>& dtypes,
                              const std::vector<std::vector<int64_t>>& shapes);
// Empty parts for a layout; every byte is zero.
Parts make_parts(const std::vector<PartSpec>& layout);

// scales part -> float32, in its own order. kBadFile if one is not finite.
Result<std::vector<float>> read_scales(const Part& part);
// scales, in the part's order, into the part. kUnsupported if one changes when it is stored: encode never loses
// anything.
Status write_scales(const std::vector<float>& scales, Part* part);
// g_idx part -> group of each column, each within [0, groups); empty if it is the natural order.
Result<std::vector<int32_t>> read_g_idx(const Part& part, int64_t cols, const Scheme& scheme);

// What decode asks before it computes with the sides: they may come from a caller or a file. kInvalidArgument.
Status check_sides(int64_t rows, int64_t cols);
// The same, and that the scheme is one of integers with integer zero points along rows (Scheme::is_grid).
Status check_readable(const Scheme& scheme, int64_t rows, int64_t cols);
// What every format asks of a scheme that is to be stored: integer codes of one of `bits`, a group that it can store
// and that divides cols (loaders refuse a short last group).
Status check_storable(std::string_view format, const Scheme& scheme, const std::vector<int32_t>& bits, int64_t rows,
                      int64_t cols);

}  // namespace qz
