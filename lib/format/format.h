// A format: canonical matrix <-> named tensors, both ways, and its words in config.json. Pure functions, local tensor
// names only
// ("qweight", never the module's path); files are lib/io's business. Adding one = one file, one row in list.cc, one
// golden test.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "packed/qmatrix.h"
#include "tensor/dtype.h"

namespace qz {

// Values equal qz_format. kPlain has no row: 16-bit safetensors hold nothing quantized.
enum class FormatId : int32_t {
  kDefault = 0,
  kGptq = 1,
  kGptqV2 = 2,
  kGptqPlanar = 3,
  kCompressed = 4,
  kAwq = 5,
  kBitsandbytes = 6,
  kHqq = 7,
  kPlain = 8,
  kGguf = 9,
  kEetq = 10,
};

struct PartSpec {         // one tensor of one module
  std::string_view name;  // "weight_packed"
  DType dtype = DType::kNone;
  std::vector<int64_t> shape;
};
struct Part : PartSpec {
  std::vector<uint8_t> bytes;  // little-endian, row-major
};
using Parts = std::vector<Part>;

struct PlannedModule {     // one linear layer of the model, as the plan left it
  std::string name;        // full name, "model.layers.0.self_attn.q_proj"
  bool quantized = false;  // false: kept in 16 bit
  bool in_block = true;    // false: the head, or elsewhere
  bool elsewhere = false;  // outside the language part of a model that has more, such as a vision tower
  // Loaders of such models rename what they load: what all names of the module end with; empty: it has one name.
  std::string ending = {};
  Scheme scheme;       // when quantized
  bool g_idx = false;  // act-order at run time (desc_act)
  bool static_order =
      false;  // columns were solved in order of diag(H), groups stay natural (compressed-tensors "actorder": "static")
};
struct PlanSummary {
  std::vector<PlannedModule> modules;  // every linear of the model, in model order
  double damp = 0.01;
};

struct ConfigFile {
  std::string name, text;  // "quantize_config.json" and what stands in it
};

// What a quantization_config says of each module of a model.
struct StoredScheme {
  Scheme scheme;
  bool g_idx = false;  // a g_idx tensor is expected
  bool dense = true;   // compressed-tensors, bits that do not divide 32: dense bit stream (0.17 and later) or padded
                       // words (before); only read where the stored width does not tell
  std::string_view marker = {};  // tensor name that marks the module as quantized; empty: the format's first
};

inline std::vector<ConfigFile> no_extra_files(const Json&) { return {}; }

struct Format {
  FormatId id;
  std::string_view name;  // "compressed-tensors", "gptq", "gptq_v2", "gptq_p", "awq", ...
  // Tensor names that mark a module as quantized in this format, the essential one first ("weight_packed").
  std::vector<std::string_view> part_names;
  // Smallest true zero point of an asymmetric scheme that every reader understands (GPTQ v1, which stores zero - 1: 1;
  // else 0).
  int32_t min_zero = 0;

  // ok, or why not, in words for a person: bits, group, symmetry, g_idx, divisibility of this module's shape.
  Status (*can_store)(const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx);
  // The type of scales that this format stores for a model of `model_dtype` (compressed-tensors: the model's; GPTQ:
  // F16).
  DType (*scale_dtype)(DType model_dtype);
  // Names, dtypes and shapes before anything is solved: what the writer reserves.
  std::vector<PartSpec> (*layout)(const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx);
  Result<Parts> (*encode)(const QMatrix& matrix);
  // rows and cols are the module's. Every size, dtype and range is checked; kBadFile with the local name.
  Result<QMatrix> (*decode)(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols);
  // quantization_config for config.json.
  Result<Json> (*config)(const PlanSummary& plan);
  // Further files of the directory (GPTQ: quantize_config.json).
  std::vector<ConfigFile> (*extra_files)(const Json& quantization_config) = no_extra_files;
  // Reads a quantization_config (ours or another tool's): the scheme of the module `name`, or nullopt when it is kept.
  // The module's class is taken to be Linear, as it is for every module that Model lists. scale of the scheme is kNone:
  // decode finds it in the tensors.
  Result<std::optional<StoredScheme>> (*stored_scheme)(const Json& quantization_config, std::string_view module,
                                                       int64_t rows, int64_t cols);
};

// The table (list.cc), in order of FormatId.
const std::vector<Format>& formats();
// kDefault is compressed-tensors; nullptr for kPlain and for values that it does not know.
const Format* find_format(FormatId id);
// Which format a quantization_config is in; kUnsupported names what was found and what can be read.
Result<const Format*> detect_format(const Json& quantization_config);

}  // namespace qz
