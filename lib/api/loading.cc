#include "run/loading.h"

#include "api/handles.h"
#include "base/json.h"

namespace qz {
namespace {

struct CheckCall {
  LoadTarget target;
  FormatId format = FormatId::kDefault;
};

Result<CheckCall> check_call(const qz_check_options* from) {
  qz_check_options o;
  QZ_TRY(require(from, "opts"));
  QZ_TRY(copy_options(from, "qz_check_options", &o));
  QZ_TRY(require(o.loader, "opts.loader"));
  return CheckCall{{o.loader, o.tensor_parallel ? o.tensor_parallel : 1, o.capability},
                   static_cast<FormatId>(o.format)};
}

Status tell(const std::string& loader, const std::vector<LoadFinding>& findings, char* buf, size_t cap, size_t* need) {
  QZ_TRY(copy_text(dump_json(findings_to_json(findings)), buf, cap, need));
  size_t errors = 0;
  const LoadFinding* first = nullptr;
  for (const LoadFinding& f : findings) {
    if (!f.error) continue;
    if (!first) first = &f;
    errors++;
  }
  if (!first) return {};
  const std::string where = first->module.empty() ? "" : first->module + ": ";
  return error(Code::kUnsupported, "%s will not load this: %zu findings, the first: %s%s", loader.c_str(), errors,
               where.c_str(), first->text.c_str());
}

}  // namespace
}  // namespace qz

using qz::Status;

extern "C" {

qz_status qz_plan_check(const qz_plan* plan, const qz_check_options* opts, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_plan_check", [&]() -> Status {
    QZ_TRY(qz::require(plan, "plan"));
    QZ_ASSIGN(const qz::CheckCall call, qz::check_call(opts));
    QZ_ASSIGN(const auto findings, qz::check_plan(plan->plan, call.format, call.target));
    return qz::tell(call.target.loader, findings, buf, cap, need);
  });
}

qz_status qz_model_check(const qz_model* model, const qz_check_options* opts, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_model_check", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_ASSIGN(const qz::CheckCall call, qz::check_call(opts));
    QZ_ASSIGN(const auto findings, qz::check_model(*model->model, call.target));
    return qz::tell(call.target.loader, findings, buf, cap, need);
  });
}

}  // extern "C"
