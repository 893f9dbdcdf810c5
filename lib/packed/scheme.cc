#include "packed/scheme.h"

#include "packed/block_code.h"

namespace qz {
namespace {

bool power_of_two(int32_t v) { return v > 0 && (v & (v - 1)) == 0; }

Status wrong(const char* what, int32_t found, const char* expected) {
  return error(Code::kInvalidArgument, "scheme: %s %d, expected %s", what, found, expected);
}

}  // namespace

int64_t Scheme::scale_count(int64_t rows, int64_t cols) const {
  if (is_block()) return 0;
  if (group == kGroupTensor) return 1;
  switch (grouping) {
    case Grouping::kRow:
      break;
    case Grouping::kFlat:
    case Grouping::kStrided:
      return (rows * cols + group - 1) / group;
    case Grouping::kTile:
      return (rows + group - 1) / group * groups(cols);
  }
  return rows * groups(cols);
}

Status check_consistent(const Scheme& s) {
  if (s.is_block()) {
    const BlockCode* block = find_block_code(s.code);
    if (!block) return error(Code::kUnsupported, "scheme: block code %d is not known", static_cast<int>(s.code));
    Scheme expected;
    expected.code = s.code;
    expected.bits = block->bits;
    expected.group = block->elements;
    expected.scale = s.scale;
    expected.compute = s.compute;
    if (s != expected)
      return error(Code::kInvalidArgument, "scheme: code %s has its own bits, groups and zero points", block->name);
    return {};
  }
  if (s.bits < 1 || s.bits > 8) return wrong("bits", s.bits, "1 to 8");
  if (s.group == 0 || s.group < kGroupTensor) return wrong("group", s.group, "a number of weights, -1 or -2");
  if (s.grouping < Grouping::kRow || s.grouping > Grouping::kTile)
    return wrong("grouping", static_cast<int32_t>(s.grouping), "0 to 3");
  if (s.grouping != Grouping::kRow && s.group < 0) return wrong("group", s.group, "a number of weights");
  if (s.activations < Activations::kNone || s.activations > Activations::kOutliers)
    return wrong("activations", static_cast<int32_t>(s.activations), "0 to 3");
  if (s.nested < 0) return wrong("nested", s.nested, "0 or the scales in a block");
  if (s.float_zero && (s.symmetric || s.code != CodeKind::kInt))
    return error(Code::kInvalidArgument, "scheme: float zero points are of asymmetric integers");
  switch (s.code) {
    case CodeKind::kInt:
      return {};
    case CodeKind::kNf4:
    case CodeKind::kFp4:
      if (s.bits != 4) return wrong("bits", s.bits, "4 of this code");
      break;
    case CodeKind::kFp8:
      if (s.bits != 8) return wrong("bits", s.bits, "8 of this code");
      break;
    case CodeKind::kLlmInt8:
      if (s.bits != 8 || s.group != kGroupRow)
        return error(Code::kInvalidArgument, "scheme: LLM.int8 is 8 bits per row, found %d bits, group %d", s.bits,
                     s.group);
      break;
    default:
      return error(Code::kUnsupported, "scheme: code kind %d is not known", static_cast<int>(s.code));
  }
  if (!s.symmetric) return error(Code::kInvalidArgument, "scheme: only integers have zero points");
  return {};
}

Status check_scheme(const Scheme& s) {
  QZ_TRY(check_consistent(s));
  if (s.scale != DType::kNone && !is_float(s.scale))
    return error(Code::kInvalidArgument, "scheme: scales of type %s, expected F16, BF16 or F32", dtype_name(s.scale));
  if (s.is_block()) return {};
  if (s.grouping == Grouping::kStrided) return wrong("grouping", 2, "0: groups along rows");
  if (s.grouping == Grouping::kFlat) {
    if (s.group < 32 || s.group > 4096 || !power_of_two(s.group))
      return wrong("group", s.group, "a power of two from 32 to 4096");
    return {};
  }
  if (s.code == CodeKind::kInt && s.bits != 2 && s.bits != 3 && s.bits != 4 && s.bits != 8 &&
      !(s.bits == 1 && s.float_zero))
    return wrong("bits", s.bits, "2, 3, 4 or 8");
  if (s.group != kGroupRow && s.group != kGroupTensor && (s.group < 16 || s.group > 1024 || s.group % 8 != 0))
    return wrong("group", s.group, "a multiple of 8 from 16 to 1024, -1 (row) or -2 (tensor)");
  return {};
}

}  // namespace qz
