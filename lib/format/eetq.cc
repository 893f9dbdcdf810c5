// EETQ 1.0, csrc/cutlass_kernels/cutlass_preprocessors.cc (preprocess_weights_for_mixed_gemm with the layout of sm75 to
// sm89; sm90 is refused there), and transformers' EetqLinear: "weight" is called [cols, rows], but its bytes lie as
// FasterTransformer's kernels load them. EETQ's own loader calls the same tensor "qweight".
#include "format/eetq.h"

#include <array>

#include "base/json.h"
#include "format/fields.h"
#include "format/kept.h"
#include "format/parts.h"

namespace qz {
namespace {

constexpr const char* kName = "eetq";
constexpr int64_t kTile = 64;  // columns that lie together; two rows take turns
constexpr int64_t kRun = 16;   // columns that change places among themselves
// Of 16 columns the order is 0 1 8 9 2 3 10 11 4 5 12 13 6 7 14 15, and of each four of these the middle two change
// places.
constexpr std::array<int64_t, kRun> kPlaces = [] {
  std::array<int64_t, kRun> places = {};
  for (int64_t c = 0; c < kRun; ++c) {
    const int64_t permuted = c % 2 + 2 * (c / 8) + 4 * (c % 8 / 2);
    places[static_cast<size_t>(c)] = permuted / 4 * 4 + permuted % 2 * 2 + permuted % 4 / 2;
  }
  return places;
}();

Status can_store(const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx) {
  QZ_TRY(check_storable(kName, scheme, {8}, rows, cols));
  if (!scheme.symmetric || scheme.group != kGroupRow || g_idx)
    return error(Code::kUnsupported, "%s: cannot store scheme %s, only w8", kName, scheme_name(scheme).c_str());
  if (scheme.scale != DType::kF16 && scheme.scale != DType::kNone)
    return error(Code::kUnsupported, "%s: cannot store scales of type %s, only F16", kName, dtype_name(scheme.scale));
  if (rows % kTile != 0 || cols % kTile != 0)
    return error(Code::kUnsupported, "%s: cannot store %lld x %lld, both must be multiples of %lld", kName,
                 static_cast<long long>(rows), static_cast<long long>(cols), static_cast<long long>(kTile));
  return {};
}

std::vector<PartSpec> layout(const Scheme&, int64_t rows, int64_t cols, bool) {
  return {{"weight", DType::kI8, {cols, rows}}, {"weight_scales", DType::kF16, {rows}}};
}

// Where the code of (row, col) lies: tiles of 64 columns of an even row and of the next one alternate.
size_t place(int64_t row, int64_t col, int64_t cols) {
  const int64_t in_tile = col % kTile / kRun * kRun + kPlaces[static_cast<size_t>(col % kRun)];
  return static_cast<size_t>(row / 2 * 2 * cols + col / kTile * 2 * kTile + row % 2 * kTile + in_tile);
}

Result<Parts> encode(const QMatrix& q) {
  QZ_TRY(check_qmatrix(q));
  QZ_TRY(can_store(q.scheme, q.rows, q.cols, !natural_groups(q.g_idx, q.cols, q.scheme)));
  Parts parts = make_parts(layout(q.scheme, q.rows, q.cols, false));
  for (int64_t r = 0; r < q.rows; ++r)
    for (int64_t c = 0; c < q.cols; c += kRun) {
      const uint8_t* from = q.codes.data() + r * q.cols + c;
      uint8_t* to = parts[0].bytes.data() + place(r, c, q.cols);
      for (int64_t i = 0; i < kRun; ++i) to[kPlaces[static_cast<size_t>(i)]] = from[i];
    }
  QZ_TRY(write_scales(q.scales, &parts[1]));
  return parts;
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QZ_TRY(check_readable(stored.scheme, rows, cols));
  QZ_TRY(can_store(stored.scheme, rows, cols, false));
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = stored.scheme;
  const char* name = find_part(parts, "qweight") ? "qweight" : "weight";
  QZ_ASSIGN(const Part* weight, take_part(parts, name, {DType::kI8}, {{cols, rows}}));
  QZ_ASSIGN(const Part* scales, take_part(parts, "weight_scales", {DType::kF16}, {{rows}}));
  q.codes.resize(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) q.codes[static_cast<size_t>(r * cols + c)] = weight->bytes[place(r, c, cols)];
  QZ_ASSIGN(q.scales, read_scales(*scales));
  q.scheme.scale = DType::kF16;
  return q;
}

// transformers' EetqConfig.
Result<Json> config(const PlanSummary& plan) {
  QZ_TRY(common_scheme(plan, kName).status());
  bool head = false;
  for (const PlannedModule& m : plan.modules) head = head || (m.quantized && is_head(m));
  Json config = Json::object();
  config["modules_to_not_convert"] = head || keeps_beside_head(plan) ? kept_names(plan) : Json();
  config["quant_method"] = kName;
  config["weights"] = "int8";
  return config;
}

Result<std::optional<StoredScheme>> stored_scheme(const Json& config, std::string_view module) {
  QZ_ASSIGN(const std::optional<bool> kept, listed_as_kept(config, "modules_to_not_convert", module));
  if (kept ? *kept : is_head_name(module)) return std::optional<StoredScheme>();
  QZ_ASSIGN(const std::string weights, string_field(config, "weights", "int8"));
  if (weights != "int8")
    return error(Code::kUnsupported, "quantization_config: weights '%.60s', expected int8", weights.c_str());
  StoredScheme stored;
  stored.scheme = {CodeKind::kInt, 8, kGroupRow, true, DType::kNone};
  stored.marker = "weight_scales";
  return std::optional<StoredScheme>(stored);
}

}  // namespace

Format eetq_format() {
  Format f = {};
  f.id = FormatId::kEetq;
  f.name = kName;
  f.part_names = {"weight", "weight_scales", "qweight"};
  f.can_store = can_store;
  f.scale_dtype = [](DType) { return DType::kF16; };
  f.layout = layout;
  f.encode = encode;
  f.decode = decode;
  f.config = config;
  f.stored_scheme = [](const Json& json, std::string_view module, int64_t, int64_t) {
    return stored_scheme(json, module);
  };
  return f;
}

}  // namespace qz
