// FP8 in tiles, as DeepSeek V3 and the FP8 editions of Qwen3 are published: "weight" in E4M3 and, for each tile of
// weight_block_size, a factor "weight_scale_inv" in float32 (DeepSeek-V3, inference/fp8_cast_bf16.py; transformers,
// integrations/finegrained_fp8.py). Activations are FP8 at run time there; an original is read for its weights.
#include "format/source.h"

#include "base/json.h"
#include "format/fields.h"
#include "format/kept.h"
#include "format/parts.h"

namespace qz {
namespace {

constexpr std::string_view kScale = "weight_scale_inv", kWeight = "weight";

Status wrong(const char* key, const Json* found, const char* expected) {
  return error(Code::kUnsupported, "quantization_config: %s is %s, expected %s", key,
               found != nullptr ? json_words(*found).c_str() : "missing", expected);
}

Result<std::optional<StoredScheme>> stored_scheme(const Json& config, std::string_view module, int64_t, int64_t) {
  QZ_ASSIGN(const std::optional<bool> kept, listed_as_kept(config, "modules_to_not_convert", module));
  if (kept ? *kept : is_head_name(module)) return std::optional<StoredScheme>();
  QZ_ASSIGN(const std::string fmt, string_field(config, "fmt", "e4m3"));
  if (fmt != "e4m3") return wrong("fmt", find_field(config, "fmt"), "\"e4m3\"");
  const Json* sides = find_field(config, "weight_block_size");
  if (sides == nullptr || !sides->is_array() || sides->size() != 2 || (*sides)[0] != (*sides)[1] ||
      !(*sides)[0].is_number_unsigned() || (*sides)[0].get<uint64_t>() < 16 || (*sides)[0].get<uint64_t>() > 1024)
    return wrong("weight_block_size", sides, "two equal sides from 16 to 1024");
  StoredScheme stored;
  stored.scheme.code = CodeKind::kFp8;
  stored.scheme.bits = 8;
  stored.scheme.grouping = Grouping::kTile;
  stored.scheme.group = (*sides)[0].get<int32_t>();
  stored.scheme.symmetric = true;
  stored.marker = kScale;
  return std::optional<StoredScheme>(stored);
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QZ_TRY(check_sides(rows, cols));
  QMatrix q;
  q.rows = rows, q.cols = cols;
  q.scheme = stored.scheme;
  const int64_t side = q.scheme.group, high = (rows + side - 1) / side, wide = (cols + side - 1) / side;
  QZ_ASSIGN(const Part* weight, take_part(parts, kWeight, {DType::kF8E4M3}, {{rows, cols}}));
  QZ_ASSIGN(const Part* scale, take_part(parts, kScale, {DType::kF32, DType::kBF16, DType::kF16}, {{high, wide}}));
  q.codes = weight->bytes;
  for (size_t i = 0; i < q.codes.size(); ++i)
    if ((q.codes[i] & 127) == 127) return error(Code::kBadFile, "weight: element %zu is not a number", i);
  QZ_ASSIGN(q.scales, read_scales(*scale));
  q.scheme.scale = DType::kF32;
  return q;
}

}  // namespace

const Format* find_source_format(const Json& config) {
  static const Format fp8 = [] {
    Format f = {};
    f.name = "fp8";
    f.part_names = {kScale, kWeight};
    f.decode = decode;
    f.stored_scheme = stored_scheme;
    return f;
  }();
  const Json* method = find_field(config, "quant_method");
  return method != nullptr && *method == "fp8" ? &fp8 : nullptr;
}

}  // namespace qz
