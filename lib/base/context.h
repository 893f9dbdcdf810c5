// What every operation is given: threads, log, limits, and the way to be interrupted. Shared between handles; no
// globals.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/limits.h"
#include "base/pool.h"
#include "base/status.h"

namespace qz {

enum class LogLevel : int32_t { kError = 1, kWarn = 2, kInfo = 3, kDebug = 4 };

// How products treat their factors; sums are float32 always. kExact: as they are. kFast: inputs and dense weights may
// be rounded to bfloat16 where this CPU multiplies those faster. kBytes: inputs of integer weights to 8 bits, the rest
// as kFast.
enum class Products : int32_t { kExact, kFast, kBytes };

struct Context {
  std::shared_ptr<Pool> pool;
  Products products = Products::kExact;
  Limits limits;
  std::function<void(LogLevel, const std::string&)> log_sink;  // empty = silent
  std::map<std::string, std::string> settings;                 // the knobs of qz_context_set that are not limits

  void log(LogLevel level, const char* format, ...) const __attribute__((format(printf, 3, 4)));
};
using ContextPtr = std::shared_ptr<const Context>;

// threads = 0 as in Pool.
ContextPtr make_context(int32_t threads = 0);

// The same threads, limits and log with another kind of products.
ContextPtr with_products(const ContextPtr& context, Products products);

// Where a long operation is, told to the caller at most every 50 ms, on the caller's thread; the caller may answer
// "stop".
struct ProgressInfo {
  const char* phase = "";   // "calibrate" "solve" "write" "evaluate" "sample"
  const char* module = "";  // full name of the module at hand, or ""
  int32_t layer = 0, layers = 0;
  double fraction = 0;  // of the whole operation, 0 … 1
  double eta_s = 0;     // seconds, 0 while unknown
};

class Progress {
 public:
  using Sink = std::function<bool(const ProgressInfo&)>;  // true = go on
  Progress() = default;
  explicit Progress(Sink sink) : sink_(std::move(sink)), start_(std::chrono::steady_clock::now()) {}

  ProgressInfo info;  // the operation writes here as it goes

  Status poll();   // calls the sink if 50 ms have passed; kCancelled when it said stop (and ever after)
  Status force();  // calls the sink now: at the end of each stage

 private:
  Sink sink_;
  std::chrono::steady_clock::time_point start_{}, last_{};
  bool cancelled_ = false;
};

// Runs count tasks on the context's pool, polling `progress` (may be null) meanwhile.
Status parallel_for(const Context& context, uint32_t count, const Pool::Task& fn, Progress* progress = nullptr);

}  // namespace qz
