#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <mutex>

#include "api/handles.h"
#include "base/env.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

struct LimitName {
  const char* name;
  uint64_t Limits::* field;
};
constexpr LimitName kLimits[] = {
    {"limits.header_bytes", &Limits::header_bytes},
    {"limits.config_bytes", &Limits::config_bytes},
    {"limits.index_bytes", &Limits::index_bytes},
    {"limits.json_depth", &Limits::json_depth},
    {"limits.tensors_per_file", &Limits::tensors_per_file},
    {"limits.tensors_per_model", &Limits::tensors_per_model},
    {"limits.dims", &Limits::dims},
    {"limits.name_bytes", &Limits::name_bytes},
    {"limits.layers", &Limits::layers},
    {"limits.hidden", &Limits::hidden},
    {"limits.vocab", &Limits::vocab},
    {"limits.heads", &Limits::heads},
    {"limits.experts", &Limits::experts},
};

Status set_cpu(const std::string& name) {
  if (!force_gemm_engine(name.c_str()))
    return error(Code::kInvalidArgument, "cpu: '%s' is not an instruction set that this machine has", name.c_str());
  return {};
}

// Resident bytes of this process; 0 where the system does not tell.
uint64_t resident_bytes() {
  std::FILE* f = std::fopen("/proc/self/statm", "re");
  if (!f) return 0;
  unsigned long long total = 0, resident = 0;
  const int n = std::fscanf(f, "%llu %llu", &total, &resident);
  std::fclose(f);
  return n == 2 ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

Progress make_progress(qz_progress_fn fn, void* user) {
  if (!fn) return Progress();
  return Progress([fn, user](const ProgressInfo& info) {
    qz_progress p = {};
    p.struct_size = sizeof p;
    p.layer = info.layer;
    p.layers = info.layers;
    p.phase = info.phase;
    p.module = info.module;
    p.fraction = info.fraction;
    p.eta_s = info.eta_s;
    p.host_bytes = resident_bytes();
    return fn(user, &p) == 0;
  });
}

}  // namespace qz

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

qz_status qz_context_create(const qz_context_options* opts, qz_context** out) {
  return qz::guard("qz_context_create", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    qz_context_options o;
    QZ_TRY(qz::copy_options(opts, "qz_context_options", &o));
    if (o.threads < 0 || o.threads > 1024)
      return error(Code::kInvalidArgument, "threads is %d; 0 means all that this process may use", o.threads);
    auto handle = std::make_unique<qz_context>();
    handle->context = std::make_shared<qz::Context>();
    handle->context->pool =
        o.parallel ? std::make_unique<qz::Pool>(o.parallel, o.user) : std::make_unique<qz::Pool>(o.threads);
    const qz::Environment env = qz::read_environment();
    if (!env.cpu.empty()) QZ_TRY(qz::set_cpu(env.cpu));
    if (o.log) {
      const int32_t most = env.log.empty() ? 4 : env.log[0] - '0';
      // The mutex lives with the sink, so that a context that outlives its handle can still log.
      auto mutex = std::make_shared<std::mutex>();
      handle->context->log_sink = [fn = o.log, user = o.user, most, mutex](qz::LogLevel level,
                                                                           const std::string& text) {
        if (static_cast<int32_t>(level) > most) return;
        const std::lock_guard<std::mutex> lock(*mutex);
        fn(user, static_cast<int32_t>(level), text.c_str());
      };
    }
    handle->backends =
        std::make_shared<const qz::Backends>(handle->context, o.backend_dir ? o.backend_dir : env.backend_dir);
    *out = handle.release();
    return {};
  });
}

qz_status qz_context_set(qz_context* ctx, const char* key, const char* value) {
  return qz::guard("qz_context_set", [&]() -> Status {
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(key, "key"));
    QZ_TRY(qz::require(value, "value"));
    const std::string name = key, text = value;
    if (name == "cpu") return qz::set_cpu(text);
    for (const auto& limit : qz::kLimits) {
      if (name != limit.name) continue;
      uint64_t number = 0;
      const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (ec != std::errc() || end != text.data() + text.size() || number == 0)
        return error(Code::kInvalidArgument, "%s: '%s' is not a positive number", key, value);
      ctx->context->limits.*limit.field = number;
      return {};
    }
    return error(Code::kInvalidArgument, "'%s' is not a setting", key);
  });
}

void qz_context_free(qz_context* ctx) { delete ctx; }

}  // extern "C"
