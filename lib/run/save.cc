#include "run/save.h"

#include "base/json.h"
#include "run/convert.h"
#include "run/report.h"

namespace qz {
namespace {

constexpr int kListed = 4;  // modules in one message

// The type of a module's scales: known in memory, else read off the tensor that holds them.
DType stored_scale(const Model& model, size_t module, const Scheme& scheme) {
  if (scheme.scale != DType::kNone) return scheme.scale;
  for (const std::string_view part : find_format(model.format())->part_names)
    if (part.find("scale") != std::string_view::npos)
      if (const TensorInfo* t = model.checkpoint()->find(model.modules()[module].name + "." + std::string(part)))
        return t->dtype;
  return DType::kNone;
}

// Whether the module moves as it is: same scheme, same type of scales. What needs no look at the numbers.
bool moves_unchanged(const Model& model, size_t module, const StoredScheme& stored, const Format& format,
                     Scheme* scheme) {
  // Of other codes the file's tensors say more than its configuration.
  if (!stored.scheme.is_grid() && stored.scheme.scale == DType::kNone) return false;
  const DType scale = stored_scale(model, module, stored.scheme);
  *scheme = stored.scheme;
  scheme->scale = format.scale_dtype(scale);
  if (scheme->compute == DType::kNone) scheme->compute = model.config().dtype;
  const Module& m = model.modules()[module];
  return scale == scheme->scale && !stored.g_idx && format.can_store(*scheme, m.rows, m.cols, false).ok();
}

// A matrix on its way out, in the scheme of the target.
Result<Converted> converted(const Model& model, size_t module, const Format& format, bool allow_loss) {
  QZ_ASSIGN(const auto matrix, model.load_matrix(module));
  auto out = convert_matrix(model.context(), *matrix, format, model.config().dtype, allow_loss);
  if (!out.ok()) return out.status().with_prefix(model.modules()[module].name);
  return out;
}

// How, for the words of the configuration; a foreign model has none.
RunReport solved_report(const Model& model) {
  if (!model.report()) return {};
  auto report = report_from_json(*model.report());
  return report.ok() ? std::move(*report) : RunReport();
}

// The report follows a matrix that is written under another scheme.
void update_report(const std::string& module, const QMatrix& matrix, Json* report) {
  if (!report->is_object() || !report->contains("modules") || !(*report)["modules"].is_array()) return;
  for (Json& m : (*report)["modules"]) {
    if (!m.is_object() || m.value("name", Json()) != module) continue;
    m["scheme"] = scheme_name(matrix.scheme);
    m["sha256"] = hash_qmatrix(matrix);
  }
}

void begin_module(Progress* progress, const std::string& name, double fraction) {
  progress->info.phase = "write";
  progress->info.module = name.c_str();
  progress->info.fraction = fraction;
}

}  // namespace

Result<SavePlan> plan_save(const Model& model, FormatId id, bool allow_loss, Progress* progress) {
  if (id == FormatId::kDefault) id = model.format();
  SavePlan plan;
  plan.format = id;
  const bool plain = id == FormatId::kPlain;
  const Format* format = plain ? nullptr : find_format(id);
  if (!plain && !format) return error(Code::kInvalidArgument, "format %d is not known", static_cast<int>(id));
  if (!plain && model.format() == FormatId::kPlain)
    return error(Code::kInvalidArgument,
                 "nothing in this model is quantized: run a plan to make codes, then save them");
  const RunReport solved = solved_report(model);
  std::string problems;
  int count = 0;
  for (size_t i = 0; i < model.modules().size(); i++) {
    const Module& module = model.modules()[i];
    PlannedModule planned = describe_module(model, i);
    if (const auto stored = model.stored_scheme(i); stored && !plain) {
      planned.quantized = true;
      if (progress) {
        begin_module(progress, module.name, 0);
        QZ_TRY(progress->poll());
      }
      if (const Status place = check_outside(module, *format); !place.ok()) {
        if (count++ < kListed)
          problems.append(problems.empty() ? "" : "; ").append(module.name).append(": ").append(place.text());
      } else if (!moves_unchanged(model, i, *stored, *format, &planned.scheme)) {
        auto out = converted(model, i, *format, allow_loss);
        if (!out.ok() && out.status().code() != Code::kUnsupported) return out.status();
        if (!out.ok() && count++ < kListed) problems.append(problems.empty() ? "" : "; ").append(out.status().text());
        if (out.ok()) {
          planned.scheme = out->matrix.scheme;
          planned.g_idx = !natural_groups(out->matrix.g_idx, module.cols, planned.scheme);
          if (!out->lost.empty()) plan.lost.push_back({module.name, out->lost});
        }
      }
      for (const ModuleReport& m : solved.modules) {
        if (m.name != module.name || m.method != Method::kGptq) continue;
        planned.static_order = m.order == Order::kStatic;
        if (m.damp_steps == 0) plan.summary.damp = m.damp;
      }
    }
    plan.summary.modules.push_back(std::move(planned));
  }
  if (count > kListed) problems += "; and " + std::to_string(count - kListed) + " more";
  if (count)
    return error(Code::kUnsupported, "%s cannot store this model: %s", std::string(format->name).c_str(),
                 problems.c_str());
  return plan;
}

Status save_model(const Model& model, const std::string& dir, WriteOptions options, Progress* progress) {
  const bool allow_loss = options.allow_loss;
  QZ_ASSIGN(const SavePlan plan, plan_save(model, options.format, allow_loss, progress));
  options.format = plan.format;
  const bool plain = options.format == FormatId::kPlain;
  const Format* format = plain ? nullptr : find_format(options.format);
  QZ_ASSIGN(auto writer, ModelWriter::create(model, plan.summary, dir, options));
  Json report = model.report() && !plain ? *model.report() : Json();
  if (!report.is_null()) report["format"] = std::string(format->name);
  const double n = static_cast<double>(model.modules().size());
  for (size_t i = 0; i < model.modules().size(); i++) {
    if (!model.quantized(i)) continue;
    const std::string& name = model.modules()[i].name;
    if (progress) {
      begin_module(progress, name, static_cast<double>(i) / n);
      QZ_TRY(progress->poll());
    }
    if (plain) {
      QZ_ASSIGN(const auto matrix, model.load_matrix(i));
      QZ_TRY(writer->write_dense(i, dequantize(*matrix)));
      continue;
    }
    QZ_ASSIGN(const Converted out, converted(model, i, *format, allow_loss));
    update_report(name, out.matrix, &report);
    QZ_TRY(writer->write_matrix(i, out.matrix));
  }
  return writer->finish([&] { return std::move(report); }, progress);
}

}  // namespace qz
