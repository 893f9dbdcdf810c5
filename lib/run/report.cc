#include "run/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/json.h"
#include "base/sha256.h"
#include "method/list.h"
#include "run/options_json.h"
#include "transform/list.h"

namespace qz {
namespace {

Json number(double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); }
Json bytes(uint64_t v) { return v > 0 ? Json(v) : Json(nullptr); }

// Fields by name, with a default for the ones that are absent.
struct Reader {
  const Json& json;
  double real(const char* key) const {
    const auto it = json.find(key);
    return it == json.end() || !it->is_number() ? std::numeric_limits<double>::quiet_NaN() : it->get<double>();
  }
  int64_t integer(const char* key) const {
    const auto it = json.find(key);
    return it == json.end() || !it->is_number_integer() ? 0 : it->get<int64_t>();
  }
  bool boolean(const char* key) const {
    const auto it = json.find(key);
    return it != json.end() && it->is_boolean() && it->get<bool>();
  }
  std::string text(const char* key) const {
    const auto it = json.find(key);
    return it == json.end() || !it->is_string() ? std::string() : it->get<std::string>();
  }
};

}  // namespace

std::string hash_vector(const std::vector<float>& values) {
  Sha256 hash;
  hash.update(values.data(), values.size() * sizeof(float));
  return hash.hex();
}

Json report_to_json(const RunReport& report) {
  Json modules = Json::array();
  for (const ModuleReport& m : report.modules)
    modules.push_back({{"name", m.name},
                       {"method", method_name(m.method)},
                       {"scheme", scheme_name(m.scheme)},
                       {"transform", transform_name(m.transform)},
                       {"fell_back", m.fell_back},
                       {"weight_error", number(m.weight_error)},
                       {"output_error", number(m.output_error)},
                       {"rtn_output_error", number(m.rtn_output_error)},
                       {"order", order_name(m.order)},
                       {"damp", number(m.damp)},
                       {"damp_steps", m.damp_steps},
                       {"dead_columns", m.dead_columns},
                       {"drift", number(m.drift)},
                       {"residual", number(m.residual)},
                       {"tokens", m.tokens},
                       {"routed_tokens", m.routed < 0 ? Json(nullptr) : Json(m.routed)},
                       {"seconds", number(m.seconds)},
                       {"bytes_before", m.bytes_before},
                       {"bytes_after", m.bytes_after},
                       {"sha256", m.sha256}});
  Json seconds = {{"total", number(report.seconds.total)}, {"cpu", number(report.seconds.cpu)}};
  for (size_t i = 0; i < kPhaseNames.size(); i++) seconds[kPhaseNames[i]] = number(report.seconds.phases[i]);
  Json changed = Json::array();
  for (const ChangedVector& c : report.changed) changed.push_back({{"name", c.name}, {"sha256", c.sha256}});
  return {{"producer", "libqz"},
          {"version", 1},
          {"format", report.format},
          {"calibration",
           {{"sequences", report.calibration_sequences},
            {"tokens", report.calibration_tokens},
            {"sha256", report.calibration_hash}}},
          {"events", report.events},
          {"memory", {{"estimated", bytes(report.memory.estimated)}, {"measured", bytes(report.memory.measured)}}},
          {"seconds", std::move(seconds)},
          {"changed", std::move(changed)},
          {"modules", std::move(modules)}};
}

Result<RunReport> report_from_json(const Json& json) {
  if (!json.is_object()) return error(Code::kBadFile, "qz_report.json: expected an object, found %s", json.type_name());
  if (!json.contains("modules") || !json["modules"].is_array())
    return error(Code::kBadFile, "qz_report.json: modules: expected a list, found %s",
                 json.contains("modules") ? json["modules"].type_name() : "nothing");
  RunReport report;
  report.format = Reader{json}.text("format");
  if (json.contains("calibration") && json["calibration"].is_object()) {
    const Reader c{json["calibration"]};
    report.calibration_sequences = c.integer("sequences");
    report.calibration_tokens = c.integer("tokens");
    report.calibration_hash = c.text("sha256");
  }
  if (json.contains("memory") && json["memory"].is_object()) {
    const Reader m{json["memory"]};
    report.memory.estimated = static_cast<uint64_t>(std::max<int64_t>(0, m.integer("estimated")));
    report.memory.measured = static_cast<uint64_t>(std::max<int64_t>(0, m.integer("measured")));
  }
  if (json.contains("seconds") && json["seconds"].is_object()) {
    const Reader s{json["seconds"]};
    const auto known = [&](const char* key) { return std::max(0.0, s.real(key)); };  // NaN becomes 0
    report.seconds.total = known("total"), report.seconds.cpu = known("cpu");
    for (size_t i = 0; i < kPhaseNames.size(); i++) report.seconds.phases[i] = known(kPhaseNames[i]);
  }
  if (json.contains("events") && json["events"].is_array())
    for (const Json& e : json["events"])
      if (e.is_string()) report.events.push_back(e.get<std::string>());
  if (json.contains("changed") && json["changed"].is_array())
    for (const Json& c : json["changed"])
      if (c.is_object()) report.changed.push_back({Reader{c}.text("name"), Reader{c}.text("sha256")});
  for (const Json& item : json["modules"]) {
    if (!item.is_object())
      return error(Code::kBadFile, "qz_report.json: modules: expected objects, found %s", item.type_name());
    const Reader r{item};
    ModuleReport m;
    m.name = r.text("name");
    const std::string method = r.text("method");
    if (const MethodRow* known = find_method(method)) m.method = known->id;
    auto scheme = scheme_preset(r.text("scheme"));
    if (!scheme.ok())
      return error(Code::kBadFile, "qz_report.json: %s: %s", m.name.c_str(), scheme.status().text().c_str());
    m.scheme = *scheme;
    const std::string transform = r.text("transform");
    for (const Transform& known : transforms())
      if (transform == known.name) m.transform = known.kind;
    const std::string order = r.text("order");
    for (const Order known : {Order::kStatic, Order::kGidx})
      if (order == order_name(known)) m.order = known;
    m.fell_back = r.boolean("fell_back");
    m.weight_error = r.real("weight_error");
    m.output_error = r.real("output_error");
    m.rtn_output_error = r.real("rtn_output_error");
    m.damp = r.real("damp");
    m.damp_steps = static_cast<int32_t>(r.integer("damp_steps"));
    m.dead_columns = r.integer("dead_columns");
    m.drift = r.real("drift");
    m.residual = r.real("residual");
    m.tokens = static_cast<uint64_t>(r.integer("tokens"));
    if (item.contains("routed_tokens") && item["routed_tokens"].is_number_integer())
      m.routed = r.integer("routed_tokens");
    m.seconds = r.real("seconds");
    m.bytes_before = static_cast<uint64_t>(r.integer("bytes_before"));
    m.bytes_after = static_cast<uint64_t>(r.integer("bytes_after"));
    m.sha256 = r.text("sha256");
    report.modules.push_back(std::move(m));
  }
  return report;
}

}  // namespace qz
