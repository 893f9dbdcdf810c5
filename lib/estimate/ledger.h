// The items of an estimate, each with its formula and its source, and their checked sums.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "estimate/count.h"

namespace qz {

enum class Where : int32_t { kDevice, kHost, kDisk };
enum class ItemKind : int32_t {
  kWeights,
  kScales,
  kKvCache,
  kActivations,
  kLogits,
  kGradients,
  kOptimizer,
  kWorkspace,
  kRuntime
};
constexpr size_t kItemKinds = 9;
const char* item_kind_name(ItemKind kind);
const char* where_name(Where where);

struct Item {
  std::string what;  // "weights of linear layers"
  Where where = Where::kDevice;
  ItemKind kind = ItemKind::kWeights;
  uint64_t bytes = 0, low = 0, high = 0;  // typical; range where a source gives one, else all three the same
  std::string formula, source;
};

class Ledger {
 public:
  // Adds an item; `bytes` of zero are left out. Overflow is remembered and told by finish().
  void add(std::string what, Where where, ItemKind kind, Count bytes, std::string formula, std::string source);
  void add_range(std::string what, Where where, ItemKind kind, Count low, Count typical, Count high,
                 std::string formula, std::string source);
  void note(std::string text) { notes_.push_back(std::move(text)); }

  // kUnsupported: a sum does not fit 64 bits.
  Status finish() const;
  const std::vector<Item>& items() const { return items_; }
  const std::vector<std::string>& notes() const { return notes_; }
  uint64_t total(Where where) const;  // typical
  uint64_t of(ItemKind kind, Where where) const;
  Json to_json() const;

 private:
  std::vector<Item> items_;
  std::vector<std::string> notes_;
  std::string overflow_;  // the first item whose bytes are not a number
};

}  // namespace qz
