// One hostile case: a directory of its own to break things in, calls through the C API that must refuse them, and what
// is asked of the refusal.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hostile/model_files.h"
#include "qz/qz.h"
#include "unit/io/temp_dir.h"

namespace hostile {

struct Free {
  void operator()(qz_context* p) const { qz_context_free(p); }
  void operator()(qz_model* p) const { qz_model_free(p); }
  void operator()(qz_calib* p) const { qz_calib_free(p); }
  void operator()(qz_plan* p) const { qz_plan_free(p); }
  void operator()(qz_session* p) const { qz_session_free(p); }
};
template <class T>
using Handle = std::unique_ptr<T, Free>;

struct Outcome {
  qz_status status = QZ_STATUS_OK;
  std::string words;
};

class Place {
 public:
  Place();

  const std::string& root() const { return root_.path(); }
  std::string model() const { return root_ / "model"; }
  std::string out() const { return root_ / "out"; }
  const qz_context* context() const { return context_.get(); }
  void set(const char* key, const char* value);

  // --- what must succeed; a failure fails the test.
  Handle<qz_model> good(const std::string& dir);
  Handle<qz_model> good(const ModelFiles& files);
  Handle<qz_calib> tokens(int count, int32_t below = 256);  // one sequence
  // llama-tied rounded to 4 bit groups of 32, with its report, in `out`.
  void make_output(const qz_model* model);

  // --- what is refused. After a success the status is OK and the case fails.
  Outcome open(const std::string& dir, const qz_model_options* options = nullptr);
  Outcome open(const ModelFiles& files, const qz_model_options* options = nullptr);
  // Opens (which must succeed), loads every block, and feeds four tokens.
  Outcome forward(const ModelFiles& files);
  Outcome forward(const std::string& dir);
  // Opens (which must succeed) and quantizes into out().
  Outcome rtn(const ModelFiles& files);
  Outcome rtn(const qz_model* model, const std::string& target, int32_t overwrite = 0);
  Outcome gptq(const qz_model* model, const qz_calib* calib, int32_t strict = 0);
  Outcome plan(const std::string& json, const char* golden = "models/llama-tied");
  Outcome verify(const qz_model* model, const std::string& dir);
  Outcome load_tokens(const std::string& bytes);

 private:
  qz::TempDir root_;
  Handle<qz_context> context_;
};

// The words of this thread's last failure, if `status` is one.
Outcome outcome(qz_status status);

struct Case {
  std::string id;     // "ST07 duplicate tensor name": a row of the threat list, then the defect
  qz_status status;   // that the refusal must have
  std::string words;  // that no other refusal has
  std::function<Outcome(Place*)> run;
};
using Cases = std::vector<Case>;

using Edit = std::function<void(ModelFiles*)>;

// The tables.
void add_safetensors_cases(Cases* cases);
void add_file_cases(Cases* cases);
void add_index_cases(Cases* cases);
void add_config_cases(Cases* cases);
void add_family_cases(Cases* cases);
void add_packed_cases(Cases* cases);
void add_awq_cases(Cases* cases);
void add_bitsandbytes_cases(Cases* cases);
void add_hqq_cases(Cases* cases);
void add_eetq_cases(Cases* cases);
void add_gguf_cases(Cases* cases);
void add_imatrix_cases(Cases* cases);
void add_run_cases(Cases* cases);
void add_token_cases(Cases* cases);
void add_plan_cases(Cases* cases);
void add_target_cases(Cases* cases);
void add_report_cases(Cases* cases);

}  // namespace hostile
