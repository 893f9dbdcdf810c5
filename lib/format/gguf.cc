// The container is lib/io's business (gguf.h), names and metadata are those of gguf_names.h; what is left is that a
// module's only part is its blocks.
#include "format/gguf.h"

#include "base/json.h"
#include "format/fields.h"
#include "format/parts.h"
#include "packed/block_code.h"

namespace qz {
namespace {

constexpr const char* kName = "gguf";

Status can_store(const Scheme& s, int64_t rows, int64_t cols, bool) {
  QZ_TRY(check_sides(rows, cols).with_prefix(kName));
  const BlockCode* block = find_block_code(s.code);
  if (!block)
    return error(Code::kUnsupported, "%s: cannot store scheme %s, only block codes as q4_k", kName,
                 scheme_name(s).c_str());
  if (cols % block->elements != 0)
    return error(Code::kUnsupported, "%s: %lld columns are no multiple of the %d of a block of %s", kName,
                 static_cast<long long>(cols), block->elements, block->name);
  return {};
}

std::vector<PartSpec> layout(const Scheme& s, int64_t rows, int64_t cols, bool) {
  const BlockCode& block = *find_block_code(s.code);
  return {{"weight", DType::kU8, {rows, cols / block.elements * block.bytes}}};
}

Result<Parts> encode(const QMatrix& q) {
  QZ_TRY(check_qmatrix(q));
  QZ_TRY(can_store(q.scheme, q.rows, q.cols, false));
  Parts parts = make_parts(layout(q.scheme, q.rows, q.cols, false));
  parts[0].bytes = q.codes;
  return parts;
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QZ_TRY(can_store(stored.scheme, rows, cols, false));
  const std::vector<PartSpec> expected = layout(stored.scheme, rows, cols, false);
  QZ_ASSIGN(const Part* part, take_part(parts, "weight", {DType::kU8}, {expected[0].shape}));
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = stored.scheme;
  q.scheme.scale = DType::kF16;
  q.codes = part->bytes;
  if (const Status status = check_qmatrix(q); !status.ok())
    return error(Code::kBadFile, "weight: %s", status.text().c_str());
  return q;
}

Result<Json> config(const PlanSummary& plan) {
  Json types = Json::object();
  for (const PlannedModule& m : plan.modules)
    if (m.quantized) types[m.name] = scheme_name(m.scheme);
  return Json{{"quant_method", kName}, {"types", std::move(types)}};
}

Result<std::optional<StoredScheme>> stored_scheme(const Json& config, std::string_view module) {
  const Json* types = find_field(config, "types");
  if (!types || !types->is_object())
    return error(Code::kBadFile, "quantization_config: key 'types' is %s, expected an object",
                 types ? json_words(*types).c_str() : "missing");
  const Json* type = find_field(*types, std::string(module).c_str());
  if (!type) return std::optional<StoredScheme>();
  if (!type->is_string())
    return error(Code::kBadFile, "quantization_config: type %s, expected a name", json_words(*type).c_str());
  StoredScheme stored;
  QZ_ASSIGN(stored.scheme, scheme_preset(type->get<std::string>()));
  if (!stored.scheme.is_block())
    return error(Code::kUnsupported, "quantization_config: type %s is no block code", json_words(*type).c_str());
  return std::optional<StoredScheme>(stored);
}

}  // namespace

Format gguf_format() {
  Format f = {};
  f.id = FormatId::kGguf;
  f.name = kName;
  f.part_names = {"weight"};
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
