#include "io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "base/checked.h"
#include "base/json.h"
#include "io/shard_index.h"

namespace qz {
namespace {

using ull = unsigned long long;

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian");

constexpr uint64_t kChunk = 1u << 20;
constexpr uint32_t kAlignment = 32;  // when general.alignment does not say otherwise
constexpr uint64_t kMostKeys = 1u << 16;
constexpr uint32_t kMostDims = 4;
constexpr uint32_t kMostAlignment = 1u << 20;

enum ValueType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kList, kU64, kI64, kF64 };

// The header, from front to back.
class Cursor {
 public:
  Cursor(const File& file, const Limits& limits) : file_(file), limits_(limits) {}

  uint64_t at() const { return at_; }
  const char* path() const { return file_.path().c_str(); }
  const Limits& limits() const { return limits_; }
  uint64_t left() const { return file_.size() - at_; }

  Status bytes(void* to, uint64_t n, const char* what) {
    if (n > left()) return error(Code::kBadFile, "%s: ends inside %s, at byte %llu", path(), what, ull{file_.size()});
    if (at_ + n > limits_.header_bytes)
      return error(Code::kBadFile, "%s: the header is longer than %llu bytes (limits.header_bytes)", path(),
                   ull{limits_.header_bytes});
    char* out = static_cast<char*>(to);
    while (n > 0) {
      if (at_ < begin_ || at_ >= begin_ + chunk_.size()) {
        chunk_.resize(std::min(kChunk, left()));
        begin_ = at_;
        QZ_TRY(file_.read_at(begin_, chunk_.data(), chunk_.size()));
      }
      const uint64_t from = at_ - begin_, part = std::min<uint64_t>(n, chunk_.size() - from);
      std::memcpy(out, chunk_.data() + from, part);
      out += part, at_ += part, n -= part;
    }
    return {};
  }

  template <class T>
  Result<T> number(const char* what) {
    T v;
    QZ_TRY(bytes(&v, sizeof v, what));
    return v;
  }

  Result<std::string> text(const char* what, uint64_t most) {
    QZ_ASSIGN(const uint64_t n, number<uint64_t>(what));
    if (n > most || n > left())
      return error(Code::kBadFile, "%s: %s has a string of %llu bytes, up to %llu are accepted here", path(), what,
                   ull{n}, ull{std::min(most, left())});
    std::string v(n, '\0');
    QZ_TRY(bytes(v.data(), n, what));
    return v;
  }

 private:
  const File& file_;
  const Limits& limits_;
  std::vector<char> chunk_;
  uint64_t begin_ = 0, at_ = 0;
};

class HeaderReader {
 public:
  HeaderReader(const File& file, const Limits& limits) : cursor_(file, limits), file_(file) {}

  Result<GgufHeader> run() {
    QZ_TRY(counts());
    QZ_TRY(keys());
    for (uint64_t i = 0; i < tensor_count_; ++i) QZ_TRY(tensor(i));
    QZ_TRY(place());
    return std::move(header_);
  }

 private:
  const char* path() const { return file_.path().c_str(); }

  Status counts() {
    char magic[4];
    QZ_TRY(cursor_.bytes(magic, 4, "the magic number"));
    if (std::memcmp(magic, "GGUF", 4) != 0) return error(Code::kBadFile, "%s: does not begin with GGUF", path());
    QZ_ASSIGN(const uint32_t version, cursor_.number<uint32_t>("the version"));
    if (version == 0x02000000 || version == 0x03000000)
      return error(Code::kUnsupported, "%s: is big-endian, which is not read", path());
    if (version != 2 && version != 3)
      return error(Code::kUnsupported, "%s: GGUF version %u, 2 and 3 are read", path(), version);
    QZ_ASSIGN(tensor_count_, cursor_.number<uint64_t>("the number of tensors"));
    QZ_ASSIGN(key_count_, cursor_.number<uint64_t>("the number of keys"));
    if (tensor_count_ > cursor_.limits().tensors_per_file)
      return error(Code::kBadFile,
                   "%s: says that it has %llu tensors, up to %llu are accepted (limits.tensors_per_file)", path(),
                   ull{tensor_count_}, ull{cursor_.limits().tensors_per_file});
    if (key_count_ > kMostKeys)
      return error(Code::kBadFile, "%s: says that it has %llu keys, up to %llu are accepted", path(), ull{key_count_},
                   ull{kMostKeys});
    return {};
  }

  Status keys() {
    Json::object_t found;  // appended directly: insertion would compare with every earlier key
    std::set<std::string> names;
    for (uint64_t i = 0; i < key_count_; ++i) {
      const std::string where = "key " + std::to_string(i + 1) + " of " + std::to_string(key_count_);
      QZ_ASSIGN(std::string name, cursor_.text(where.c_str(), cursor_.limits().name_bytes));
      if (!names.insert(name).second)
        return error(Code::kBadFile, "%s: key '%.100s' occurs twice", path(), name.c_str());
      const std::string what = "key '" + name.substr(0, 100) + "'";
      QZ_ASSIGN(const uint32_t type, cursor_.number<uint32_t>(what.c_str()));
      QZ_ASSIGN(Json v, type == kList ? list(what) : value(type, what));
      found.emplace_back(std::move(name), std::move(v));
    }
    header_.metadata = std::move(found);
    return {};
  }

  Result<Json> list(const std::string& what) {
    QZ_ASSIGN(const uint32_t type, cursor_.number<uint32_t>(what.c_str()));
    QZ_ASSIGN(const uint64_t n, cursor_.number<uint64_t>(what.c_str()));
    if (type == kList) return error(Code::kUnsupported, "%s: %s is a list of lists", path(), what.c_str());
    values_ += n;
    if (n > cursor_.limits().vocab || values_ > cursor_.limits().vocab || n > cursor_.left())
      return error(Code::kBadFile, "%s: %s has %llu values, more than the file can hold or limits.vocab allows (%llu)",
                   path(), what.c_str(), ull{n}, ull{cursor_.limits().vocab});
    Json::array_t values;
    for (uint64_t i = 0; i < n; ++i) {
      QZ_ASSIGN(Json v, value(type, what));
      values.push_back(std::move(v));
    }
    return Json(std::move(values));
  }

  template <class T>
  Result<Json> as_json(const std::string& what) {
    QZ_ASSIGN(const T v, cursor_.number<T>(what.c_str()));
    return Json(v);
  }

  Result<Json> value(uint32_t type, const std::string& what) {
    switch (type) {
      case kU8:
        return as_json<uint8_t>(what);
      case kI8:
        return as_json<int8_t>(what);
      case kU16:
        return as_json<uint16_t>(what);
      case kI16:
        return as_json<int16_t>(what);
      case kU32:
        return as_json<uint32_t>(what);
      case kI32:
        return as_json<int32_t>(what);
      case kF32:
        return as_json<float>(what);
      case kU64:
        return as_json<uint64_t>(what);
      case kI64:
        return as_json<int64_t>(what);
      case kF64:
        return as_json<double>(what);
      case kBool: {
        QZ_ASSIGN(const uint8_t v, cursor_.number<uint8_t>(what.c_str()));
        if (v > 1) return error(Code::kBadFile, "%s: %s is %d, expected 0 or 1", path(), what.c_str(), v);
        return Json(v == 1);
      }
      case kString: {
        QZ_ASSIGN(std::string v, cursor_.text(what.c_str(), cursor_.limits().config_bytes));
        return Json(std::move(v));
      }
      default:
        return error(Code::kBadFile, "%s: %s has values of type %u, expected 0 to 12", path(), what.c_str(), type);
    }
  }

  Status tensor(uint64_t i) {
    GgufTensor t;
    const std::string where = "tensor " + std::to_string(i + 1) + " of " + std::to_string(tensor_count_);
    QZ_ASSIGN(t.name, cursor_.text(where.c_str(), cursor_.limits().name_bytes));
    if (!names_.insert(t.name).second)
      return error(Code::kBadFile, "%s: tensor '%.100s' occurs twice", path(), t.name.c_str());
    const std::string what = "tensor '" + t.name.substr(0, 100) + "'";
    QZ_ASSIGN(const uint32_t dims, cursor_.number<uint32_t>(what.c_str()));
    if (dims < 1 || dims > kMostDims)
      return error(Code::kBadFile, "%s: %s has %u dimensions, expected 1 to %u", path(), what.c_str(), dims, kMostDims);
    uint64_t elements = 1, first = 0;
    for (uint32_t d = 0; d < dims; ++d) {
      QZ_ASSIGN(const uint64_t n, cursor_.number<uint64_t>(what.c_str()));
      if (n == 0 || n >> 62 || !checked_mul(elements, n, &elements) || elements >> 62)
        return error(Code::kBadFile, "%s: %s has %llu as dimension %u: no size that a file could hold", path(),
                     what.c_str(), ull{n}, d);
      if (d == 0) first = n;
      t.shape.insert(t.shape.begin(), static_cast<int64_t>(n));
    }
    QZ_ASSIGN(const uint32_t type, cursor_.number<uint32_t>(what.c_str()));
    t.type = find_gguf_type(type);
    if (!t.type)
      return error(Code::kUnsupported, "%s: %s is of ggml type %u, which is not known", path(), what.c_str(), type);
    if (first % t.type->elements != 0)
      return error(Code::kBadFile, "%s: %s has rows of %llu elements, %s has blocks of %u", path(), what.c_str(),
                   ull{first}, t.type->name, t.type->elements);
    if (!checked_mul(elements / t.type->elements, t.type->bytes, &t.bytes))
      return error(Code::kBadFile, "%s: %s has too many bytes to count", path(), what.c_str());
    QZ_ASSIGN(t.offset, cursor_.number<uint64_t>(what.c_str()));
    header_.tensors.push_back(std::move(t));
    return {};
  }

  // Offsets become those in the file; tensors lie within it, apart from each other.
  Status place() {
    uint64_t alignment = kAlignment;
    if (const auto it = header_.metadata.find("general.alignment"); it != header_.metadata.end()) {
      const bool number = it->is_number_unsigned();
      alignment = number ? it->get<uint64_t>() : 0;
      if (alignment == 0 || alignment > kMostAlignment || !std::has_single_bit(alignment))
        return error(Code::kBadFile, "%s: key 'general.alignment' is %s, expected a power of two up to %u", path(),
                     it->dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60).c_str(), kMostAlignment);
    }
    const uint64_t start = (cursor_.at() + alignment - 1) / alignment * alignment;
    std::vector<const GgufTensor*> order;
    for (GgufTensor& t : header_.tensors) {
      uint64_t end = 0;
      if (t.offset % alignment != 0)
        return error(Code::kBadFile, "%s: tensor '%.100s' begins at %llu, not a multiple of the alignment %llu", path(),
                     t.name.c_str(), ull{t.offset}, ull{alignment});
      if (!checked_add(start, t.offset, &t.offset) || !checked_add(t.offset, t.bytes, &end) || end > file_.size())
        return error(Code::kBadFile,
                     "%s: tensor '%.100s' of %llu bytes reaches beyond the end of the file, which has %llu", path(),
                     t.name.c_str(), ull{t.bytes}, ull{file_.size()});
      order.push_back(&t);
    }
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < order.size(); ++i)
      if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes)
        return error(Code::kBadFile, "%s: tensors '%.100s' and '%.100s' share bytes", path(),
                     order[i - 1]->name.c_str(), order[i]->name.c_str());
    return {};
  }

  Cursor cursor_;
  const File& file_;
  uint64_t tensor_count_ = 0, key_count_ = 0, values_ = 0;
  std::set<std::string> names_;
  GgufHeader header_;
};

template <class T>
void append(T v, std::string* to) {
  to->append(reinterpret_cast<const char*>(&v), sizeof v);
}

void append_text(std::string_view v, std::string* to) {
  append(uint64_t{v.size()}, to);
  to->append(v);
}

}  // namespace

Result<GgufHeader> read_gguf_header(const File& file, const Limits& limits) { return HeaderReader(file, limits).run(); }

void GgufBuilder::begin(std::string_view key, uint32_t type) {
  append_text(key, &keys_);
  append(type, &keys_);
  ++key_count_;
}

void GgufBuilder::begin_list(std::string_view key, uint32_t type, size_t count) {
  begin(key, kList);
  append(type, &keys_);
  append(uint64_t{count}, &keys_);
}

void GgufBuilder::text(std::string_view value) { append_text(value, &keys_); }

void GgufBuilder::add(std::string_view key, uint32_t value) { begin(key, kU32), append(value, &keys_); }
void GgufBuilder::add(std::string_view key, float value) { begin(key, kF32), append(value, &keys_); }
void GgufBuilder::add(std::string_view key, bool value) { begin(key, kBool), append(uint8_t{value}, &keys_); }
void GgufBuilder::add(std::string_view key, std::string_view value) { begin(key, kString), text(value); }
void GgufBuilder::add(std::string_view key, const std::vector<std::string>& values) {
  begin_list(key, kString, values.size());
  for (const std::string& v : values) text(v);
}
void GgufBuilder::add(std::string_view key, const std::vector<int32_t>& values) {
  begin_list(key, kI32, values.size());
  for (const int32_t v : values) append(v, &keys_);
}
void GgufBuilder::add(std::string_view key, const std::vector<float>& values) {
  begin_list(key, kF32, values.size());
  for (const float v : values) append(v, &keys_);
}

size_t GgufBuilder::add_tensor(std::string name, const GgufType& type, std::vector<int64_t> shape) {
  uint64_t elements = 1;
  for (const int64_t d : shape) elements *= static_cast<uint64_t>(d);
  tensors_.push_back({std::move(name), &type, std::move(shape), 0, elements / type.elements * type.bytes});
  return tensors_.size() - 1;
}

uint64_t GgufBuilder::Layout::bytes() const {
  uint64_t sum = 0;
  for (const File& f : files) sum += f.bytes;
  return sum;
}

GgufBuilder::File GgufBuilder::make_file(const std::vector<size_t>& tensors, size_t index, size_t count,
                                         std::vector<Place>* places) const {
  const auto aligned = [](uint64_t v) { return (v + kAlignment - 1) / kAlignment * kAlignment; };
  GgufBuilder keys;
  if (index == 0) keys.keys_ = keys_, keys.key_count_ = key_count_;
  if (count > 1) {  // types as llama.cpp reads them
    keys.begin("split.no", kU16), append(static_cast<uint16_t>(index), &keys.keys_);
    keys.begin("split.count", kU16), append(static_cast<uint16_t>(count), &keys.keys_);
    keys.begin("split.tensors.count", kI32), append(static_cast<int32_t>(tensors_.size()), &keys.keys_);
  }
  File out;
  out.name = count == 1 ? std::string("model.gguf") : numbered("model", index, count, ".gguf");
  out.header = "GGUF";
  append(uint32_t{3}, &out.header);
  append(uint64_t{tensors.size()}, &out.header);
  append(keys.key_count_, &out.header);
  out.header += keys.keys_;
  uint64_t at = 0;
  for (const size_t i : tensors) {
    const GgufTensor& t = tensors_[i];
    append_text(t.name, &out.header);
    append(static_cast<uint32_t>(t.shape.size()), &out.header);
    for (auto d = t.shape.rbegin(); d != t.shape.rend(); ++d) append(static_cast<uint64_t>(*d), &out.header);
    append(t.type->id, &out.header);
    append(at, &out.header);
    (*places)[i] = {index, at, t.bytes};
    at = aligned(at + t.bytes);
  }
  out.header.resize(aligned(out.header.size()), '\0');
  for (const size_t i : tensors) (*places)[i].offset += out.header.size();
  out.bytes = out.header.size() + at;
  return out;
}

GgufBuilder::Layout GgufBuilder::finish(uint64_t most) const {
  std::vector<std::vector<size_t>> parts(1);
  uint64_t size = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (most != 0 && !parts.back().empty() && (size >= most || tensors_[i].bytes > most - size)) {
      parts.emplace_back();
      size = 0;
    }
    size += tensors_[i].bytes;
    parts.back().push_back(i);
  }
  Layout out;
  out.places.resize(tensors_.size());
  for (size_t i = 0; i < parts.size(); ++i) out.files.push_back(make_file(parts[i], i, parts.size(), &out.places));
  return out;
}

}  // namespace qz
