#include "api/handles.h"
#include "base/json.h"
#include "model/family_check.h"
#include "run/save.h"
#include "run/verify.h"

namespace qz {

Result<std::unique_ptr<qz_model>> wrap_model(ModelPtr model, BackendsPtr backends) {
  auto handle = std::make_unique<qz_model>();
  if (model->report()) {
    auto report = report_from_json(*model->report());
    if (report.ok())
      handle->report = std::make_shared<const RunReport>(std::move(*report));
    else
      model->context().log(LogLevel::kWarn, "%s", report.status().text().c_str());  // the weights do not depend on it
  }
  handle->model = std::move(model);
  handle->backends = std::move(backends);
  return handle;
}

}  // namespace qz

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

qz_status qz_model_open(const qz_context* ctx, const char* path, const qz_model_options* opts, qz_model** out) {
  return qz::guard("qz_model_open", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(path, "path"));
    qz_model_options o;
    QZ_TRY(qz::copy_options(opts, "qz_model_options", &o));
    QZ_TRY(qz::check_reserved(o.reserved, "qz_model_options"));
    qz::ModelOptions options;
    options.config_only = o.config_only != 0;
    options.strict = o.strict != 0;
    if (o.arch_json) options.arch_json = o.arch_json;
    QZ_ASSIGN(qz::ModelPtr model, qz::Model::open(ctx->context, path, options));
    QZ_ASSIGN(auto handle, qz::wrap_model(std::move(model), ctx->backends));
    *out = handle.release();
    return {};
  });
}

qz_status qz_arch_list(char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_arch_list", [&]() -> Status {
    qz::Json list = qz::Json::array();
    for (const qz::ArchDesc* desc : qz::architectures())
      list.push_back({{"name", std::string(desc->name)},
                      {"hf_class", std::string(desc->hf_class)},
                      {"model_type", std::string(desc->model_type)}});
    return qz::copy_text(qz::dump_json(list), buf, cap, need);
  });
}

qz_status qz_arch_show(const char* name, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_arch_show", [&]() -> Status {
    QZ_TRY(qz::require(name, "name"));
    std::string known;
    for (const qz::ArchDesc* desc : qz::architectures()) {
      if (desc->name == name) return qz::copy_text(qz::dump_json(qz::arch_to_json(*desc)), buf, cap, need);
      known += (known.empty() ? "" : ", ") + std::string(desc->name);
    }
    return error(Code::kInvalidArgument, "'%.60s' is not one of %s", name, known.c_str());
  });
}

qz_status qz_arch_check(const qz_context* ctx, const char* path, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_arch_check", [&]() -> Status {
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(path, "path"));
    QZ_ASSIGN(const qz::FamilyCheck check, qz::check_family(ctx->context, path));
    return qz::copy_text(qz::dump_json(qz::family_check_to_json(check)), buf, cap, need);
  });
}

qz_status qz_model_get_info(const qz_model* model, qz_model_info* out) {
  return qz::guard("qz_model_get_info", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    const qz::Model& m = *model->model;
    const qz::ModelConfig& c = m.config();
    qz_model_info info = {};
    info.struct_size = sizeof info;
    info.format = static_cast<qz_format>(m.format());
    info.dtype = static_cast<qz_dtype>(c.dtype);
    info.tied = c.tied;
    std::memcpy(info.arch, m.arch().name.data(), std::min(m.arch().name.size(), sizeof info.arch - 1));
    info.parameters = m.parameters();
    info.layers = c.layers;
    info.hidden = c.hidden;
    info.heads = c.heads;
    info.kv_heads = c.kv_heads;
    info.head_dim = c.head_dim;
    info.intermediate = c.intermediate;
    info.vocab = c.vocab;
    info.max_seq = c.max_seq;
    info.outputs = c.outputs;
    info.encoder = !c.causal;
    info.classifier = c.pooled;
    return qz::copy_out(info, "qz_model_info", out);
  });
}

size_t qz_model_module_count(const qz_model* model) { return model ? model->model->modules().size() : 0; }

qz_status qz_model_get_module(const qz_model* model, size_t i, qz_module_info* out) {
  return qz::guard("qz_model_get_module", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    const auto& modules = model->model->modules();
    if (i >= modules.size()) return error(Code::kInvalidArgument, "module %zu of %zu", i, modules.size());
    const qz::Module& m = modules[i];
    const auto stored = model->model->stored_scheme(i);
    qz_module_info info = {};
    info.struct_size = sizeof info;
    info.can_quantize = m.can_quantize;
    info.quantized = stored.has_value();
    info.bits = stored ? stored->scheme.bits : 0;
    info.group = stored ? stored->scheme.group : 0;
    info.name = m.name.c_str();
    info.role = qz::role_name(m.role);
    info.layer = m.layer;
    info.rows = m.rows;
    info.cols = m.cols;
    return qz::copy_out(info, "qz_module_info", out);
  });
}

qz_status qz_model_save(const qz_model* model, const char* dir, const qz_save_options* opts) {
  return qz::guard("qz_model_save", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_TRY(qz::require(dir, "dir"));
    qz_save_options o;
    QZ_TRY(qz::copy_options(opts, "qz_save_options", &o));
    qz::WriteOptions options;
    options.format = static_cast<qz::FormatId>(o.format);
    options.overwrite = o.overwrite != 0;
    options.shard_bytes = o.shard_bytes;
    options.allow_loss = o.allow_loss != 0;
    qz::Progress progress = qz::make_progress(o.progress, o.user);
    return qz::save_model(*model->model, dir, options, &progress);
  });
}

qz_status qz_model_check_save(const qz_model* model, qz_format format, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_model_check_save", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    const auto id = static_cast<qz::FormatId>(format);
    QZ_ASSIGN(const qz::SavePlan plan, qz::plan_save(*model->model, id, true, nullptr));
    const qz::Format* found = qz::find_format(plan.format);
    qz::Json lost = qz::Json::array();
    for (const auto& loss : plan.lost) lost.push_back({{"module", loss.module}, {"words", loss.words}});
    const qz::Json json = {{"format", found ? std::string(found->name) : "plain"},
                           {"exact", plan.lost.empty()},
                           {"lost", std::move(lost)}};
    return qz::copy_text(qz::dump_json(json), buf, cap, need);
  });
}

qz_status qz_model_verify(const qz_model* model, const char* dir, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_model_verify", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_TRY(qz::require(dir, "dir"));
    QZ_ASSIGN(const qz::Verification v, qz::verify_directory(*model->model, dir, nullptr));
    QZ_TRY(qz::copy_text(qz::dump_json(qz::verification_to_json(v)), buf, cap, need));
    if (v.ok()) return {};
    size_t errors = 0;
    const qz::Finding* first = nullptr;
    for (const qz::Finding& f : v.findings) {
      if (f.severity != "error") continue;
      if (!first) first = &f;
      errors++;
    }
    std::string words;
    for (const std::string& part : {first->file, first->tensor, first->text})
      if (!part.empty()) words += (words.empty() ? "" : " ") + part;
    return error(Code::kMismatch, "%s: %zu findings, the first: %s", dir, errors, words.c_str());
  });
}

void qz_model_free(qz_model* model) { delete model; }

}  // extern "C"
