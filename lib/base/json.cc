#include "base/json.h"

#include <unordered_map>
#include <vector>

#include "base/json_sax.h"

namespace qz {

bool JsonSax::parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) {
  // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing … - …; last read:
  // '…'": the last token may be megabytes of a hostile file, and not UTF-8, so only the reason in the middle is kept.
  std::string words = e.what();
  if (const size_t tag = words.find("] "); tag != std::string::npos) words.erase(0, tag + 2);
  if (const size_t last = words.find("; last read"); last != std::string::npos) words.resize(last);
  if (const size_t where = words.find(": "); where != std::string::npos && words.rfind("parse error", 0) == 0)
    words.erase(0, where + 2);
  if (words.size() > 200) words.resize(200);
  for (char& c : words)
    if (static_cast<unsigned char>(c) >= 0x7F) c = '?';
  return fail(error(Code::kBadFile, "%s: not valid JSON at byte %zu: %s", file(), position, words.c_str()));
}

namespace {

// Builds the document. Objects of ordered_json are vectors of pairs: elements are appended directly, because its own
// insertion searches all earlier keys (an index has 10^5 of them); duplicates are found with a hash table per open
// object.
class DocumentSax : public JsonSax {
 public:
  DocumentSax(const std::string& file, const JsonLimits& limits) : JsonSax(file), limits_(limits) {}

  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool v) { return put(v); }
  bool number_integer(number_integer_t v) { return put(v); }
  bool number_unsigned(number_unsigned_t v) { return put(v); }
  bool number_float(number_float_t v, const string_t& text) {
    // The parser falls back to a double when an integer does not fit 64 bits; written back it would be another number.
    if (text.find_first_of(".eE") == std::string::npos)
      return fail(error(Code::kBadFile, "%s: integer at byte %zu does not fit 64 bits", file(), offset()));
    return put(v);
  }
  bool string(string_t& v) { return put(std::move(v)); }

  bool start_object(size_t) { return open(Json::object()); }
  bool key(string_t& name) {
    Level& level = levels_.back();
    const auto [it, fresh] = level.keys.emplace(name, offset());
    if (!fresh)
      return fail(error(Code::kBadFile, "%s: key '%.200s' occurs twice in one object, at bytes %zu and %zu", file(),
                        name.c_str(), it->second, offset()));
    auto* object = level.value->get_ptr<Json::object_t*>();
    object->emplace_back(std::move(name), nullptr);
    slot_ = &object->back().second;
    return true;
  }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_array() { return close(); }

 private:
  struct Level {
    Json* value;
    std::unordered_map<std::string, size_t> keys;  // key -> byte offset of its end
  };

  // Stores a value where the document expects one; nullptr when the limit is reached. The returned pointer stays valid
  // while the value is open: only the innermost container grows.
  Json* place(Json&& v) {
    if (++values_ > limits_.values) {
      fail(error(Code::kBadFile, "%s: more than %llu values", file(), static_cast<unsigned long long>(limits_.values)));
      return nullptr;
    }
    if (levels_.empty()) {
      root_ = std::move(v);
      return &root_;
    }
    Level& level = levels_.back();
    if (level.value->is_array()) {
      auto* array = level.value->get_ptr<Json::array_t*>();
      array->push_back(std::move(v));
      return &array->back();
    }
    *slot_ = std::move(v);
    return slot_;
  }
  bool put(Json&& v) { return place(std::move(v)) != nullptr; }
  bool open(Json&& v) {
    if (levels_.size() >= limits_.depth)
      return fail(error(Code::kBadFile, "%s: nested deeper than %llu levels at byte %zu", file(),
                        static_cast<unsigned long long>(limits_.depth), offset()));
    Json* at = place(std::move(v));
    if (at) levels_.push_back({at, {}});
    return at != nullptr;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  uint64_t values_ = 0;
  Json root_;
  Json* slot_ = nullptr;  // value of the latest key
  std::vector<Level> levels_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& file, const JsonLimits& limits) {
  DocumentSax sax(file, limits);
  QZ_TRY(run_json_sax(text, &sax));
  return sax.take();
}

std::string dump_json(const Json& json) {
  // `replace`: the default handler throws on a string that is not UTF-8 (a path, for example).
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace qz
