// What to do with each linear layer of a model: rules by glob, the last match wins.
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "format/format.h"
#include "method/options.h"
#include "model/model.h"
#include "packed/scheme.h"
#include "transform/options.h"

namespace qz {

struct Rule {
  std::string
      glob;  // over full module names: * any characters, ? one, [abc] one of a set. "*" alone leaves out the head
  Method method = Method::kDefault;
  Scheme scheme;
  GptqOptions gptq;
  TransformOptions transform;
};

struct Sensitivity;

class Plan {
 public:
  explicit Plan(ModelPtr model);  // one rule: "*", kDefault, 4 bit, group 128
  const ModelPtr& model() const { return model_; }
  const std::vector<Rule>& rules() const { return rules_; }
  // What a budget search measured (budget.h); travels with the plan so that another budget costs nothing.
  std::shared_ptr<const Sensitivity> sensitivity;
  // Mean squares of the columns of each module (imatrix.h), for block codes that are rounded; null: they count alike.
  std::shared_ptr<const std::vector<std::vector<float>>> importance;
  void keep_rules(size_t count) { rules_.resize(std::min(count, rules_.size())); }  // the first ones
  Status add_rule(Rule rule);  // kInvalidArgument: matches nothing, or the scheme is not one
  static Result<Plan> from_json(ModelPtr model, std::string_view json);
  Json to_json() const;

 private:
  ModelPtr model_;
  std::vector<Rule> rules_;
};

// One module's part, ready to run: method is not kDefault; scheme.scale is set.
struct ModulePlan {
  Method method = Method::kKeep;
  Scheme scheme;
  GptqOptions gptq;
  TransformOptions transform;
  const float* importance = nullptr;  // of the columns, where block codes are rounded; the plan's
  // Whether statistics of its inputs are needed.
  bool measures() const;
};

// Applies the rules for a result in `format`. Fails before any work when the format cannot store a module, all such
// modules in one message, or when what needs calibration tokens is asked for without them.
Result<std::vector<ModulePlan>> resolve_plan(const Plan& plan, FormatId format, bool has_calibration);

// What the format's configuration needs to know. modules in model order.
// kUnsupported when the module lies outside the blocks and the format does not say the shape of what it packs, so that
// such modules could not be found again.
Status check_outside(const Module& module, const Format& format);
// The names and the place of a module, as formats write them; not quantized.
PlannedModule describe_module(const Model& model, size_t module);
PlanSummary summarize_plan(const Model& model, const std::vector<ModulePlan>& modules);

// The rule that decides about a module: the last that covers it; null: none does.
const Rule* rule_of(const std::vector<Rule>& rules, const Module& module);

bool glob_match(std::string_view glob, std::string_view text);

}  // namespace qz
