// A model: a directory opened, its linear layers by name, and - after quantization - their canonical matrices. One type
// before and after. Immutable once made; shared between threads.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "arch/list.h"
#include "base/context.h"
#include "format/format.h"
#include "io/checkpoint.h"
#include "kernels/gemm.h"
#include "model/config.h"
#include "packed/qmatrix.h"

namespace qz {

// kOther: outside the language part, not in its forward pass. kPlain MLP: kUp and kDown. In a block with experts the
// shared expert has the roles of an MLP.
enum class Role : int32_t {
  kQ,
  kK,
  kV,
  kQkv,
  kQA,
  kQB,
  kKvA,
  kKvB,
  kO,
  kGate,
  kUp,
  kGateUp,
  kDown,
  kRouter,
  kSharedScale,
  kOther,
  kHead
};
constexpr size_t kRoles = 17;
const char* role_name(Role role);  // "q" "k" … "head"

struct Module {      // a linear layer: y = x W^T + b
  std::string name;  // "model.layers.0.self_attn.q_proj"; its tensors are name + ".weight" and, if it has one, ".bias"
  Role role = Role::kQ;
  int64_t layer = -1;   // -1: the head, others
  int64_t expert = -1;  // -1: not one of a mixture
  int64_t rows = 0, cols = 0;
  bool can_quantize = true;  // false: a tied head, a router
  bool transposed = false;   // the plain weight is stored [cols, rows]
  // Where the plain weight lies, unless it is name + ".weight": rows [first_row, first_row + rows) of matrix `expert`
  // of this tensor, [experts][...][cols].
  std::string stack = {};
  int64_t first_row = 0;
  std::vector<int64_t> stored_shape() const {
    return transposed ? std::vector<int64_t>{cols, rows} : std::vector<int64_t>{rows, cols};
  }
};

struct ModelOptions {
  bool config_only = false;    // no tensor files: estimates and plans only
  std::string arch_json = {};  // a description of the architecture; wins over the tables
  bool strict = false;         // contradictions between config and tensors are errors, not log lines
};

// Norms and biases by full tensor name ("model.norm.weight"), in float32, each value exact in the tensor's type.
using Vectors = std::map<std::string, std::vector<float>>;

class Model {
 public:
  static Result<std::shared_ptr<const Model>> open(ContextPtr context, const std::string& dir,
                                                   const ModelOptions& options = {});
  // The same model with some matrices replaced (by index into modules()): what a quantization run returns. `report`
  // travels along.
  // changed: tensors that are no linear weights and have other values than in the file.
  static std::shared_ptr<const Model> with_matrices(std::shared_ptr<const Model> base,
                                                    std::map<size_t, std::shared_ptr<const QMatrix>> matrices,
                                                    FormatId format, std::shared_ptr<const Json> report,
                                                    Vectors changed = {});

  // The same model, computing with another context.
  static std::shared_ptr<const Model> with_context(const Model& base, ContextPtr context);

  const Context& context() const { return *context_; }
  const ContextPtr& context_ptr() const { return context_; }
  const ModelConfig& config() const { return config_; }
  const ArchDesc& arch() const { return *arch_; }
  const std::shared_ptr<const Checkpoint>& checkpoint() const { return checkpoint_; }
  FormatId format() const { return format_; }  // kPlain: nothing is quantized
  const std::vector<Module>& modules() const {
    return modules_;
  }  // others, then in the order of the forward pass; the head last
  int64_t find_module(std::string_view name) const;                      // -1: none
  std::pair<size_t, size_t> block_modules(int64_t layer) const;          // [first, end) of modules()
  const std::shared_ptr<const Json>& report() const { return report_; }  // null: none
  int64_t parameters() const;  // elements of all tensors, quantized ones at their logical size

  // Whether the file of an original holds the weight in another type than 16 or 32 bits; it is read as a plain one.
  bool coded(size_t module) const { return coded_[module].has_value(); }
  // Names below the module's of the tensors that hold a coded weight.
  const std::vector<std::string_view>& code_names() const { return source_format_->part_names; }
  // What the module's file or plan says; nullopt: a plain 16- or 32-bit weight.
  std::optional<StoredScheme> stored_scheme(size_t module) const;
  bool quantized(size_t module) const { return stored_scheme(module).has_value(); }
  // The canonical matrix, from memory or decoded from the file. kInvalidArgument if the module is not quantized.
  Result<std::shared_ptr<const QMatrix>> load_matrix(size_t module) const;
  // The weight in float32, [rows][cols], dequantized if need be. NaN or infinity in a plain weight is kBadFile (rule
  // W01).
  Result<Matrix> load_weight(size_t module) const;
  // The plain weight as stored, but [rows][cols] whatever the file's order; not of a module that is quantized.
  Result<std::vector<uint8_t>> read_weight(size_t module, DType* dtype) const;
  // A hint that the weights of these modules, [first, end) of modules(), are read next, if they lie in plain tensors of
  // their own: the disk works while the last ones are solved.
  void will_need(size_t first, size_t end) const;
  // The bias, empty if the module has none.
  Result<std::vector<float>> load_bias(size_t module) const;
  // A tensor that is not a linear weight, in float32 (norms, embeddings): name without ".weight" + suffix; empty if
  // absent.
  Result<std::vector<float>> load_vector(const std::string& tensor_name, int64_t expected, bool required) const;
  // What load_vector gives instead of what the file holds: where a transform of a run in memory put its scales.
  const Vectors& changed_vectors() const { return changed_; }

 private:
  Status open_quantized();  // quantization_config -> file_format_, stored_, or source_format_, coded_
  Result<std::shared_ptr<const QMatrix>> decode_module(size_t module, const Format& format,
                                                       const StoredScheme& stored) const;
  void choose_prefix();
  void find_stacked_experts();
  Status check_tensors(bool strict);
  void index_modules();

  ContextPtr context_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::shared_ptr<const ArchDesc> arch_;
  ModelConfig config_;
  std::vector<Module> modules_;
  std::unordered_map<std::string_view, size_t> by_name_;
  FormatId format_ = FormatId::kPlain;
  const Format* file_format_ = nullptr;                        // of the packed modules in the file; null: none
  std::vector<std::optional<StoredScheme>> stored_;            // per module, from the file
  const Format* source_format_ = nullptr;                      // of the coded weights of an original; null: none
  std::vector<std::optional<StoredScheme>> coded_;             // per module
  std::map<size_t, std::shared_ptr<const QMatrix>> matrices_;  // per module, in memory: wins over the file
  std::shared_ptr<const Json> report_;
  Vectors changed_;
};
using ModelPtr = std::shared_ptr<const Model>;

}  // namespace qz
