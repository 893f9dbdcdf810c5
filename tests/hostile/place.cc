#include "hostile/place.h"

namespace hostile {

Outcome outcome(qz_status status) { return {status, status == QZ_STATUS_OK ? "" : qz_last_error()}; }

Place::Place() {
  qz_context_options options = QZ_INIT(qz_context_options);
  options.threads = 1;
  qz_context* context = nullptr;
  EXPECT_EQ(qz_context_create(&options, &context), QZ_STATUS_OK) << qz_last_error();
  context_.reset(context);
}

void Place::set(const char* key, const char* value) {
  EXPECT_EQ(qz_context_set(context_.get(), key, value), QZ_STATUS_OK) << qz_last_error();
}

Handle<qz_model> Place::good(const std::string& dir) {
  qz_model* model = nullptr;
  EXPECT_EQ(qz_model_open(context(), dir.c_str(), nullptr, &model), QZ_STATUS_OK) << qz_last_error();
  return Handle<qz_model>(model);
}

Handle<qz_model> Place::good(const ModelFiles& files) {
  files.write(model());
  return good(model());
}

Handle<qz_calib> Place::tokens(int count, int32_t below) {
  qz_calib* calib = nullptr;
  EXPECT_EQ(qz_calib_create(context(), &calib), QZ_STATUS_OK);
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(i * 7 % below));
  if (count > 0) {
    EXPECT_EQ(qz_calib_add_tokens(calib, ids.data(), ids.size()), QZ_STATUS_OK) << qz_last_error();
  }
  return Handle<qz_calib>(calib);
}

void Place::make_output(const qz_model* model) {
  const Outcome made = rtn(model, out());
  EXPECT_EQ(made.status, QZ_STATUS_OK) << made.words;
}

Outcome Place::open(const std::string& dir, const qz_model_options* options) {
  qz_model* model = nullptr;
  const Outcome result = outcome(qz_model_open(context(), dir.c_str(), options, &model));
  EXPECT_EQ(model == nullptr, result.status != QZ_STATUS_OK);
  qz_model_free(model);
  return result;
}

Outcome Place::open(const ModelFiles& files, const qz_model_options* options) {
  files.write(model());
  return open(model(), options);
}

Outcome Place::forward(const ModelFiles& files) {
  files.write(model());
  return forward(model());
}

Outcome Place::forward(const std::string& dir) {
  const Handle<qz_model> model = good(dir);
  qz_session* created = nullptr;
  if (const qz_status status = qz_session_create(model.get(), 8, &created)) return outcome(status);
  const Handle<qz_session> session(created);
  const int32_t ids[] = {3, 1, 4, 1};
  return outcome(qz_session_logits(session.get(), ids, 4, nullptr));
}

Outcome Place::rtn(const ModelFiles& files) { return rtn(good(files).get(), out()); }

Outcome Place::rtn(const qz_model* model, const std::string& target, int32_t overwrite) {
  qz_scheme scheme = QZ_INIT(qz_scheme);
  scheme.group = 32;
  qz_run_options run = QZ_INIT(qz_run_options);
  run.stream_to = target.c_str();
  run.overwrite = overwrite;
  qz_model* made = nullptr;
  const Outcome result = outcome(qz_rtn_run(model, &scheme, &run, &made));
  EXPECT_EQ(made == nullptr, result.status != QZ_STATUS_OK);
  qz_model_free(made);
  return result;
}

Outcome Place::gptq(const qz_model* model, const qz_calib* calib, int32_t strict) {
  qz_scheme scheme = QZ_INIT(qz_scheme);
  scheme.group = 32;
  const std::string target = out();
  qz_run_options run = QZ_INIT(qz_run_options);
  run.stream_to = target.c_str();
  run.strict = strict;
  qz_model* made = nullptr;
  const Outcome result = outcome(qz_gptq_run(model, calib, &scheme, nullptr, &run, &made));
  qz_model_free(made);
  return result;
}

Outcome Place::plan(const std::string& json, const char* golden) {
  const Handle<qz_model> model = good(std::string("tests/data/goldens/") + golden);
  qz_plan* plan = nullptr;
  if (const qz_status status = qz_plan_from_json(model.get(), json.data(), json.size(), &plan)) return outcome(status);
  const Handle<qz_plan> made(plan);
  const std::string target = out();
  qz_run_options run = QZ_INIT(qz_run_options);
  run.stream_to = target.c_str();
  qz_model* result = nullptr;
  const qz_status status = qz_plan_run(plan, nullptr, &run, &result);
  qz_model_free(result);
  return outcome(status);
}

Outcome Place::verify(const qz_model* model, const std::string& dir) {
  return outcome(qz_model_verify(model, dir.c_str(), nullptr, 0, nullptr));
}

Outcome Place::load_tokens(const std::string& bytes) {
  root_.write("tokens.qz", bytes);
  qz_calib* calib = nullptr;
  const Outcome result = outcome(qz_calib_load(context(), (root_ / "tokens.qz").c_str(), &calib));
  qz_calib_free(calib);
  return result;
}

}  // namespace hostile
