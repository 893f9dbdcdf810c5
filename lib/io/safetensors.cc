#include "io/safetensors.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "base/json.h"
#include "io/safetensors_sax.h"

namespace qz {
namespace {

using ull = unsigned long long;

// Name, then dtype, shape and offsets against each other and against the data section.
Status check_tensor(const char* file, const TensorInfo& t, uint64_t begin, uint64_t end, uint64_t data_bytes) {
  const char* name = t.name.c_str();
  uint64_t elements = 1;
  for (int64_t d : t.shape) {  // in this order, as TensorInfo::elements() multiplies: no partial product may overflow
    if (!checked_mul(elements, static_cast<uint64_t>(d), &elements) || elements > kMaxHeaderNumber)
      return error(Code::kBadFile, "%s: tensor '%s': its shape has more than 2^48 elements", file, name);
  }
  if (end < begin)
    return error(Code::kBadFile, "%s: tensor '%s': data_offsets end at %llu before they begin at %llu", file, name,
                 ull{end}, ull{begin});
  const uint32_t bits = safetensors_dtype(t.dtype_name).bits;
  if (bits > 0) {                                 // a dtype of the future has an unknown size: it can be listed
    const uint64_t total_bits = elements * bits;  // at most 2^48 * 2^7
    if (total_bits % 8 != 0)
      return error(Code::kBadFile, "%s: tensor '%s': %llu elements of %s do not fill whole bytes", file, name,
                   ull{elements}, t.dtype_name.c_str());
    if (total_bits / 8 != end - begin)
      return error(Code::kBadFile, "%s: tensor '%s': shape and dtype need %llu bytes but data_offsets span %llu", file,
                   name, ull{total_bits / 8}, ull{end - begin});
  }
  if (end > data_bytes)
    return error(Code::kBadFile,
                 "%s: tensor '%s' ends at byte %llu of the data section, which has %llu bytes (incomplete download?)",
                 file, name, ull{end}, ull{data_bytes});
  return {};
}

// Each tensor begins where the one before it ends; the last ends with the file.
Status check_layout(const char* file, const std::vector<TensorInfo>& tensors, uint64_t data_start,
                    uint64_t file_bytes) {
  uint64_t expected = data_start;
  for (const TensorInfo& t : tensors) {
    if (t.offset != expected)
      return error(Code::kBadFile, "%s: tensor '%s' begins at byte %llu of the data section; expected %llu (%s)", file,
                   t.name.c_str(), ull{t.offset - data_start}, ull{expected - data_start},
                   t.offset < expected ? "tensors overlap" : "there is a hole before it");
    expected += t.bytes;
  }
  if (expected != file_bytes)
    return error(Code::kBadFile, "%s: %llu bytes follow the last tensor; expected the end of the file", file,
                 ull{file_bytes - expected});
  return {};
}

std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

Result<SafetensorsHeader> read_safetensors_header(const File& file, const Limits& limits) {
  const char* path = file.path().c_str();
  if (file.size() < 8)
    return error(Code::kBadFile, "%s: too small for safetensors: %llu bytes", path, ull{file.size()});
  unsigned char word[8];
  QZ_TRY(file.read_at(0, word, sizeof word));
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | word[i];
  if (header_bytes > limits.header_bytes)
    return error(Code::kBadFile, "%s: header length is %llu; at most %llu bytes are allowed", path, ull{header_bytes},
                 ull{limits.header_bytes});
  if (header_bytes > file.size() - 8)
    return error(Code::kBadFile, "%s: header length is %llu but only %llu bytes follow (incomplete download?)", path,
                 ull{header_bytes}, ull{file.size() - 8});
  if (header_bytes < 2)
    return error(Code::kBadFile, "%s: header length is %llu; expected at least 2", path, ull{header_bytes});
  std::string text(static_cast<size_t>(header_bytes), '\0');
  QZ_TRY(file.read_at(8, text.data(), text.size()));
  if (text[0] != '{')
    return error(Code::kBadFile, "%s: the header begins with byte 0x%02x; expected '{'", path,
                 static_cast<unsigned>(static_cast<unsigned char>(text[0])));

  SafetensorsSax sax(file.path(), limits);
  QZ_TRY(run_json_sax(text, &sax));
  // The parser takes any white space after the object; the format allows spaces only.
  if (const size_t last = text.find_last_not_of(' '); text[last] != '}')
    return error(Code::kBadFile, "%s: byte 0x%02x after the header's JSON; only spaces may pad it", path,
                 static_cast<unsigned>(static_cast<unsigned char>(text[last])));
  std::string().swap(text);

  SafetensorsHeader header;
  header.metadata = std::move(sax.metadata);
  header.tensors = std::move(sax.tensors);
  header.data_start = 8 + header_bytes;
  const uint64_t data_bytes = file.size() - header.data_start;
  for (TensorInfo& t : header.tensors) {
    // The handler left begin and end here.
    const uint64_t begin = t.offset, end = t.bytes;
    QZ_TRY(check_tensor(path, t, begin, end, data_bytes));
    t.offset = header.data_start + begin;
    t.bytes = end - begin;
    t.dtype = safetensors_dtype(t.dtype_name).dtype;
    if (t.dtype == DType::kNone) t.dtype = DType::kOther;
  }
  QZ_TRY(sax.check_duplicates(header.tensors));
  // By (offset, bytes): an empty tensor may share its offset with the one after it.
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    if (a.offset != b.offset) return a.offset < b.offset;
    if (a.bytes != b.bytes) return a.bytes < b.bytes;
    return a.name < b.name;
  });
  QZ_TRY(check_layout(path, header.tensors, header.data_start, file.size()));
  return header;
}

std::string make_safetensors_header(const std::vector<TensorSpec>& tensors,
                                    const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> all = metadata;
  all.emplace("format", "pt");  // transformers refuses a file without it
  std::string text = "{\"__metadata__\":{";
  for (const auto& [key, value] : all) {
    if (text.back() != '{') text += ',';
    text += quoted(key) + ':' + quoted(value);
  }
  text += '}';
  uint64_t offset = 0;
  for (const TensorSpec& t : tensors) {
    text += ',';
    text += quoted(t.name);
    text += ":{\"dtype\":";
    text += quoted(t.dtype_name);
    text += ",\"shape\":[";
    for (size_t i = 0; i < t.shape.size(); ++i) {
      if (i > 0) text += ',';
      text += std::to_string(t.shape[i]);
    }
    text += "],\"data_offsets\":[";
    text += std::to_string(offset);
    text += ',';
    text += std::to_string(offset + t.bytes);
    text += "]}";
    offset += t.bytes;
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[static_cast<size_t>(i)] = static_cast<char>(uint64_t{text.size()} >> (8 * i) & 255);
  return out + text;
}

void sort_like_reference(std::vector<TensorSpec>* tensors) {
  std::sort(tensors->begin(), tensors->end(), [](const TensorSpec& a, const TensorSpec& b) {
    const int32_t ra = safetensors_dtype(a.dtype_name).rank, rb = safetensors_dtype(b.dtype_name).rank;
    return ra != rb ? ra > rb : a.name < b.name;
  });
}

}  // namespace qz
