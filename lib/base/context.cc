#include "base/context.h"

#include <cstdarg>
#include <cstdio>

namespace qz {

void Context::log(LogLevel level, const char* format, ...) const {
  if (!log_sink) return;
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  log_sink(level, text);
}

ContextPtr make_context(int32_t threads) {
  auto context = std::make_shared<Context>();
  context->pool = std::make_unique<Pool>(threads);
  return context;
}

ContextPtr with_products(const ContextPtr& context, Products products) {
  auto copy = std::make_shared<Context>(*context);
  copy->products = products;
  return copy;
}

Status Progress::poll() {
  if (cancelled_) return error(Code::kCancelled, "cancelled by the caller");
  if (!sink_) return {};
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < std::chrono::milliseconds(50)) return {};
  return force();
}

Status Progress::force() {
  if (cancelled_) return error(Code::kCancelled, "cancelled by the caller");
  if (!sink_) return {};
  last_ = std::chrono::steady_clock::now();
  const double elapsed = std::chrono::duration<double>(last_ - start_).count();
  info.eta_s = info.fraction > 0.01 ? elapsed * (1 - info.fraction) / info.fraction : 0;
  if (!sink_(info)) cancelled_ = true;
  return cancelled_ ? error(Code::kCancelled, "cancelled by the caller") : Status();
}

Status parallel_for(const Context& context, uint32_t count, const Pool::Task& fn, Progress* progress) {
  if (!progress) return context.pool->run(count, fn);
  return context.pool->run(count, fn, [progress] { return progress->poll(); });
}

}  // namespace qz
