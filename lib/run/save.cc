#include "run/save.h"

#include "run/report.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// The matrix with its scales typed as the target stores them; fails when one of them would change.
Status retype_scales(const std::string& module, DType to, QMatrix* q) {
  for (const float s : q->scales)
    if (round_to(s, to) != s) {
      return error(Code::kUnsupported,
                   "%s: scale %.9g is not exact in %s, which the target format stores; quantize to it instead",
                   module.c_str(), static_cast<double>(s), dtype_name(to));
    }
  q->scheme.scale = to;
  return {};
}

// The type of a module's scales: known in memory, else read off the tensor that holds them.
DType stored_scale(const Model& model, size_t module, const Scheme& scheme) {
  if (scheme.scale != DType::kNone) return scheme.scale;
  for (const std::string_view part : find_format(model.format())->part_names)
    if (part.find("scale") != std::string_view::npos)
      if (const TensorInfo* t = model.checkpoint()->find(model.modules()[module].name + "." + std::string(part)))
        return t->dtype;
  return DType::kF32;
}

}  // namespace

Status save_model(const Model& model, const std::string& dir, WriteOptions options, Progress* progress) {
  if (options.format == FormatId::kDefault) options.format = model.format();
  const bool plain = options.format == FormatId::kPlain;
  const Format* format = plain ? nullptr : find_format(options.format);
  if (!plain && !format)
    return error(Code::kInvalidArgument, "format %d is not known", static_cast<int>(options.format));
  if (!plain && model.format() == FormatId::kPlain)
    return error(Code::kInvalidArgument,
                 "nothing in this model is quantized: run a plan to make codes, then save them");

  PlanSummary summary;
  RunReport solved;  // how, for the words of the configuration; a foreign model has none
  if (model.report())
    if (auto report = report_from_json(*model.report()); report.ok()) solved = std::move(*report);
  std::string problems;
  int count = 0;
  for (size_t i = 0; i < model.modules().size(); i++) {
    const Module& module = model.modules()[i];
    PlannedModule planned;
    planned.name = module.name;
    planned.in_block = module.layer >= 0;
    if (const auto stored = model.stored_scheme(i); stored && !plain) {
      planned.quantized = true;
      planned.scheme = stored->scheme;
      planned.scheme.scale = format->scale_dtype(stored_scale(model, i, stored->scheme));
      planned.g_idx = stored->g_idx;
      for (const ModuleReport& m : solved.modules) {
        if (m.name != module.name || m.method != Method::kGptq) continue;
        planned.static_order = m.order == Order::kStatic;
        if (m.damp_steps == 0) summary.damp = m.damp;
      }
      if (Status s = format->can_store(planned.scheme, module.rows, module.cols, planned.g_idx); !s.ok() && count++ < 4)
        problems += (problems.empty() ? "" : "; ") + module.name + ": " + s.text();
    }
    summary.modules.push_back(std::move(planned));
  }
  if (count > 4) problems += "; and " + std::to_string(count - 4) + " more";
  if (count)
    return error(Code::kUnsupported, "%s cannot store this model: %s", std::string(format->name).c_str(),
                 problems.c_str());

  QZ_ASSIGN(auto writer, ModelWriter::create(model, summary, dir, options));
  Json report = model.report() && !plain ? *model.report() : Json();
  if (!report.is_null()) report["format"] = std::string(format->name);
  const double n = static_cast<double>(model.modules().size());
  for (size_t i = 0; i < model.modules().size(); i++) {
    if (!model.quantized(i)) continue;
    const std::string& name = model.modules()[i].name;
    if (progress) {
      progress->info.phase = "write";
      progress->info.module = name.c_str();
      progress->info.fraction = static_cast<double>(i) / n;
      QZ_TRY(progress->poll());
    }
    QZ_ASSIGN(const auto matrix, model.load_matrix(i));
    if (plain) {
      QZ_TRY(writer->write_dense(i, dequantize(*matrix)));
      continue;
    }
    QMatrix q = *matrix;
    QZ_TRY(retype_scales(name, summary.modules[i].scheme.scale, &q));
    QZ_TRY(writer->write_matrix(i, q));
  }
  return writer->finish(std::move(report), progress);
}

}  // namespace qz
