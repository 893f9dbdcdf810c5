#include "estimate/ledger.h"

#include "base/json.h"

namespace qz {
namespace {

constexpr const char* kKinds[kItemKinds] = {"weights",   "scales",    "kv_cache",  "activations", "logits",
                                            "gradients", "optimizer", "workspace", "runtime"};
constexpr const char* kWheres[] = {"device", "host", "disk"};

}  // namespace

const char* item_kind_name(ItemKind kind) { return kKinds[static_cast<size_t>(kind)]; }
const char* where_name(Where where) { return kWheres[static_cast<size_t>(where)]; }

void Ledger::add(std::string what, Where where, ItemKind kind, Count bytes, std::string formula, std::string source) {
  add_range(std::move(what), where, kind, bytes, bytes, bytes, std::move(formula), std::move(source));
}

void Ledger::add_range(std::string what, Where where, ItemKind kind, Count low, Count typical, Count high,
                       std::string formula, std::string source) {
  if (!(low.valid() && typical.valid() && high.valid())) {
    if (overflow_.empty()) overflow_ = what;
    return;
  }
  if (high.value() == 0) return;
  items_.push_back({std::move(what), where, kind, typical.value(), low.value(), high.value(), std::move(formula),
                    std::move(source)});
}

Status Ledger::finish() const {
  Count sum;
  for (const Item& item : items_) sum += item.high;
  if (!overflow_.empty() || !sum.valid())
    return error(Code::kUnsupported, "%s: more bytes than 64 bits can count",
                 overflow_.empty() ? "the sum of all" : overflow_.c_str());
  return {};
}

uint64_t Ledger::total(Where where) const {
  uint64_t sum = 0;
  for (const Item& item : items_)
    if (item.where == where) sum += item.bytes;
  return sum;
}

uint64_t Ledger::of(ItemKind kind, Where where) const {
  uint64_t sum = 0;
  for (const Item& item : items_)
    if (item.where == where && item.kind == kind) sum += item.bytes;
  return sum;
}

Json Ledger::to_json() const {
  Json items = Json::array(), totals = Json::object();
  for (const Item& item : items_)
    items.push_back({{"what", item.what},
                     {"where", where_name(item.where)},
                     {"kind", item_kind_name(item.kind)},
                     {"bytes", item.bytes},
                     {"low", item.low},
                     {"high", item.high},
                     {"formula", item.formula},
                     {"source", item.source}});
  for (const Where where : {Where::kDevice, Where::kHost, Where::kDisk}) {
    uint64_t low = 0, high = 0;
    for (const Item& item : items_)
      if (item.where == where) low += item.low, high += item.high;
    totals[where_name(where)] = {{"low", low}, {"bytes", total(where)}, {"high", high}};
  }
  return {{"items", std::move(items)}, {"totals", std::move(totals)}, {"notes", notes_}};
}

}  // namespace qz
