#include "format/gptq.h"

#include <cstring>

#include "base/json.h"
#include "format/bits.h"
#include "format/parts.h"

namespace qz {
namespace {

Packing packing_of(GptqKind kind) { return kind == GptqKind::kPlanar ? Packing::kPlanar : Packing::kStream; }

std::vector<int32_t> widths_of(GptqKind kind) {
  // Words of 5, 6 and 7 bits exist only as planes.
  return kind == GptqKind::kPlanar ? std::vector<int32_t>{2, 3, 4, 5, 6, 7, 8} : std::vector<int32_t>{2, 3, 4, 8};
}

Status can_store(const Scheme& scheme, int64_t rows, int64_t cols, GptqKind kind) {
  QZ_TRY(check_storable(gptq_name(kind), scheme, widths_of(kind), rows, cols));
  if (scheme.group == kGroupTensor)
    return error(Code::kUnsupported, "%s: cannot store one scale per tensor, only groups or one per row",
                 gptq_name(kind));
  if (scheme.scale == DType::kF32)
    return error(Code::kUnsupported, "%s: cannot store scales of type F32, only F16", gptq_name(kind));
  // AutoGPTQ and GPTQModel refuse other sizes.
  if (rows % 32 != 0 || cols % 32 != 0)
    return error(Code::kUnsupported, "%s: cannot store %lld x %lld, rows and columns must be multiples of 32",
                 gptq_name(kind), static_cast<long long>(rows), static_cast<long long>(cols));
  return {};
}

std::vector<PartSpec> layout(const Scheme& scheme, int64_t rows, int64_t cols, GptqKind kind) {
  const Packing packing = packing_of(kind);
  const int64_t groups = scheme.groups(cols);
  return {{"g_idx", DType::kI32, {cols}},
          {"qweight", DType::kI32, {packed_words(packing, cols, scheme.bits), rows}},
          {"qzeros", DType::kI32, {groups, packed_words(packing, rows, scheme.bits)}},
          {"scales", DType::kF16, {groups, rows}}};
}

// GPTQ v1 stores zero - 1 in each field. GPTQModel, where the fields do not cross words, subtracts from whole words, so
// that a zero point of 0 borrows from its neighbour, and adds to whole words when it reads, which undoes it; 3-bit
// fields it wraps one by one. Readers that add 1 to each field read the neighbours of such a field wrongly:
// Format::min_zero keeps them out of new files.
void shift_zeros(std::vector<uint8_t>* words, int32_t bits, bool store) {
  uint32_t ones = 0;
  for (int32_t i = 0; i < 32; i += bits) ones |= 1u << i;
  for (size_t i = 0; i < words->size(); i += 4) {
    uint32_t word;
    std::memcpy(&word, words->data() + i, 4);
    word = store ? word - ones : word + ones;
    std::memcpy(words->data() + i, &word, 4);
  }
}

// zeros: [groups][rows], true. -> qzeros.
void encode_zeros(std::vector<uint8_t> zeros, int64_t groups, int64_t rows, int32_t bits, GptqKind kind, Part* part) {
  if (kind == GptqKind::kV1 && bits == 3)
    for (uint8_t& z : zeros) z = (z - 1) & 7;
  const int64_t bytes = packed_words(packing_of(kind), rows, bits) * 4;
  for (int64_t g = 0; g < groups; ++g)
    pack(packing_of(kind), zeros.data() + g * rows, rows, bits, part->bytes.data() + g * bytes);
  if (kind == GptqKind::kV1 && bits != 3) shift_zeros(&part->bytes, bits, true);
}

std::vector<uint8_t> decode_zeros(const Part& part, int64_t groups, int64_t rows, int32_t bits, GptqKind kind) {
  std::vector<uint8_t> words = part.bytes;
  if (kind == GptqKind::kV1 && bits != 3) shift_zeros(&words, bits, false);
  std::vector<uint8_t> zeros(static_cast<size_t>(groups * rows));
  const int64_t bytes = packed_words(packing_of(kind), rows, bits) * 4;
  for (int64_t g = 0; g < groups; ++g)
    unpack(packing_of(kind), words.data() + g * bytes, rows, bits, zeros.data() + g * rows);
  if (kind == GptqKind::kV1 && bits == 3)
    for (uint8_t& z : zeros) z = (z + 1) & 7;
  return zeros;
}

Result<Parts> encode(const QMatrix& q, GptqKind kind) {
  QZ_TRY(check_qmatrix(q));
  QZ_TRY(can_store(q.scheme, q.rows, q.cols, kind));
  const int32_t bits = q.scheme.bits;
  const int64_t groups = q.groups();
  Parts parts = make_parts(layout(q.scheme, q.rows, q.cols, kind));
  Part &g_idx = parts[0], &qweight = parts[1], &qzeros = parts[2], &scales = parts[3];
  for (int64_t c = 0; c < q.cols; ++c) {
    const int32_t g = static_cast<int32_t>(q.group_of(c));
    std::memcpy(g_idx.bytes.data() + c * 4, &g, 4);
  }
  pack_down(packing_of(kind), q.codes.data(), q.rows, q.cols, bits, qweight.bytes.data());
  std::vector<uint8_t> zeros(static_cast<size_t>(q.rows * groups), static_cast<uint8_t>(q.scheme.mid_code()));
  if (!q.scheme.symmetric) zeros = transposed(q.zeros, q.rows, groups);
  encode_zeros(std::move(zeros), groups, q.rows, bits, kind, &qzeros);
  QZ_TRY(write_scales(transposed(q.scales, q.rows, groups), &scales));
  return parts;
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols, GptqKind kind) {
  QZ_TRY(check_readable(stored.scheme, rows, cols));
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = stored.scheme;
  const Scheme& s = q.scheme;
  if (s.group == kGroupTensor) return error(Code::kUnsupported, "%s: one scale per tensor", gptq_name(kind));
  const std::vector<PartSpec> specs = layout(s, rows, cols, kind);
  QZ_ASSIGN(const Part* qweight, take_part(parts, "qweight", {DType::kI32}, {specs[1].shape}));
  QZ_ASSIGN(const Part* qzeros, take_part(parts, "qzeros", {DType::kI32}, {specs[2].shape}));
  QZ_ASSIGN(const Part* scales, take_part(parts, "scales", {DType::kF16, DType::kBF16}, {specs[3].shape}));
  if (stored.g_idx || find_part(parts, "g_idx")) {
    QZ_ASSIGN(const Part* g_idx, take_part(parts, "g_idx", {DType::kI32}, {specs[0].shape}));
    QZ_ASSIGN(q.g_idx, read_g_idx(*g_idx, cols, s));
  }
  q.codes.resize(static_cast<size_t>(rows * cols));
  unpack_down(packing_of(kind), qweight->bytes.data(), rows, cols, s.bits, q.codes.data());
  const std::vector<uint8_t> zeros = decode_zeros(*qzeros, q.groups(), rows, s.bits, kind);
  if (!s.symmetric) q.zeros = transposed(zeros, q.groups(), rows);
  // Kernels for symmetric models never look at qzeros, others do: the model would mean two things.
  for (size_t i = 0; s.symmetric && i < zeros.size(); ++i)
    if (zeros[i] != s.mid_code())
      return error(Code::kBadFile, "qzeros: zero point %d of group %zu, row %zu, expected %d because sym is true",
                   zeros[i], i / static_cast<size_t>(rows), i % static_cast<size_t>(rows), s.mid_code());
  QZ_ASSIGN(const std::vector<float> values, read_scales(*scales));
  q.scales = transposed(values, q.groups(), rows);
  q.scheme.scale = scales->dtype;
  return q;
}

template <GptqKind kind>
Format row(FormatId id) {
  Format f = {};
  f.id = id;
  f.name = gptq_name(kind);
  f.part_names = {"qweight", "qzeros", "scales", "g_idx"};
  f.min_zero = kind == GptqKind::kV1 ? 1 : 0;
  f.can_store = [](const Scheme& s, int64_t rows, int64_t cols, bool) { return can_store(s, rows, cols, kind); };
  f.scale_dtype = [](DType) { return DType::kF16; };
  f.layout = [](const Scheme& s, int64_t rows, int64_t cols, bool) { return layout(s, rows, cols, kind); };
  f.encode = [](const QMatrix& q) { return encode(q, kind); };
  f.decode = [](const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
    return decode(parts, stored, rows, cols, kind);
  };
  f.config = [](const PlanSummary& plan) { return gptq_config(plan, kind); };
  f.extra_files = gptq_extra_files;
  f.stored_scheme = [](const Json& config, std::string_view module, int64_t, int64_t) {
    return gptq_stored_scheme(config, module, kind);
  };
  return f;
}

}  // namespace

Format gptq_format(GptqKind kind) {
  switch (kind) {
    case GptqKind::kV1:
      return row<GptqKind::kV1>(FormatId::kGptq);
    case GptqKind::kV2:
      return row<GptqKind::kV2>(FormatId::kGptqV2);
    case GptqKind::kPlanar:
      break;
  }
  return row<GptqKind::kPlanar>(FormatId::kGptqPlanar);
}

const char* gptq_name(GptqKind kind) {
  return kind == GptqKind::kV1 ? "gptq" : kind == GptqKind::kV2 ? "gptq_v2" : "gptq_p";
}

}  // namespace qz
