// Rows IM: importance matrices: llama.cpp's older form, which has no header that could be wrong at once, and GGUF
// files.
#include <filesystem>
#include <fstream>
#include <functional>

#include "hostile/place.h"

namespace hostile {
namespace {

constexpr char kLayer[] = "blk.0.attn_q.weight";  // 128 columns

std::string number(int32_t v) { return std::string(reinterpret_cast<const char*>(&v), sizeof v); }
std::string entry(const std::string& name, int32_t calls, int32_t values, const std::string& data) {
  return number(static_cast<int32_t>(name.size())) + name + number(calls) + number(values) + data;
}
std::string floats(int32_t n, uint32_t bits = 0x3F800000) {
  std::string out;
  for (int32_t i = 0; i < n; ++i) out += number(static_cast<int32_t>(bits));
  return out;
}

Outcome read(Place* place, const std::string& path) {
  const Handle<qz_model> model = place->good("tests/data/goldens/models/llama-128");
  qz_plan* created = nullptr;
  EXPECT_EQ(qz_plan_create(model.get(), &created), QZ_STATUS_OK);
  const Handle<qz_plan> plan(created);
  return outcome(qz_plan_set_imatrix(created, path.c_str()));
}

// What qz_imatrix_write makes for the model, with one thing changed.
Outcome read_changed(Place* place, const std::function<void(std::string*)>& edit) {
  const Handle<qz_model> model = place->good("tests/data/goldens/models/llama-128");
  const Handle<qz_calib> text = place->tokens(96);
  const std::string path = place->root() + "/imatrix.gguf";
  EXPECT_EQ(qz_imatrix_write(model.get(), text.get(), path.c_str(), nullptr, nullptr), QZ_STATUS_OK) << qz_last_error();
  std::string bytes = qz::slurp(path);
  const std::string before = bytes;
  edit(&bytes);
  EXPECT_NE(bytes, before);
  std::ofstream(path, std::ios::binary) << bytes;
  return read(place, path);
}

void replace_all(std::string* bytes, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = bytes->find(from, at)) != std::string::npos; at += to.size())
    bytes->replace(at, from.size(), to);
}

}  // namespace

void add_imatrix_cases(Cases* cases) {
  const auto add = [&](const char* id, const char* words, const std::string& bytes) {
    cases->push_back({std::string("IM ") + id, QZ_STATUS_BAD_FILE, words, [bytes](Place* place) {
                        const std::string path = place->root() + "/imatrix.dat";
                        std::ofstream(path, std::ios::binary) << bytes;
                        return read(place, path);
                      }});
  };
  add("empty file", "imatrix.dat: ends at byte 0, inside an entry", "");
  add("negative count", "no imatrix: a count at byte 0 is -1", number(-1));
  add("2^31 - 1 entries", "a count at byte 0 is 2147483647", number(INT32_MAX));
  add("a name of 1 GiB", "the length of a name at byte 4 is 1073741824", number(1) + number(1 << 30));
  add("negative calls", "a number of calls at byte 27 is -5", number(1) + entry(kLayer, -5, 128, floats(128)));
  add("negative values", "a number of values at byte 31 is -128", number(1) + entry(kLayer, 1, -128, ""));
  add("fewer values than it says", "ends at byte 51, inside an entry", number(1) + entry(kLayer, 1, 128, floats(4)));
  add("another model's width", "'blk.0.attn_q.weight' has 64 values, expected 1 x 128",
      number(1) + entry(kLayer, 1, 64, floats(64)));
  add("none of the layers", "imatrix.dat: holds none of the model's layers",
      number(1) + entry("blk.0.attn_x.weight", 1, 128, floats(128)));
  add("a mean that is NaN", "'blk.0.attn_q.weight': the mean square of input 0 is nan",
      number(1) + entry(kLayer, 1, 128, floats(128, 0x7FC00000)));
  add("one entry fewer than it says", "imatrix.dat: ends at byte 547, inside an entry",
      number(2) + entry(kLayer, 1, 128, floats(128)));
  add("a name longer than the file", "imatrix.dat: ends at byte 12, inside an entry",
      number(1) + number(4096) + "blk.");
  add("no name", "imatrix.dat: no imatrix: the length of a name at byte 4 is -1", number(1) + number(-1));
  add("an infinite mean", "'blk.0.attn_q.weight': the mean square of input 0 is inf",
      number(1) + entry(kLayer, 1, 128, floats(128, 0x7F800000)));
  add("a negative mean", "'blk.0.attn_q.weight': the mean square of input 0 is -2",
      number(1) + entry(kLayer, 1, 128, floats(128, 0xC0000000)));
  add("a second entry of another width", "'blk.0.attn_q.weight' has 256 values, expected 1 x 128",
      number(2) + entry(kLayer, 1, 128, floats(128)) + entry(kLayer, 1, 256, floats(256)));

  const auto changed = [&](const char* id, const char* words, const std::function<void(std::string*)>& edit) {
    cases->push_back({std::string("IM ") + id, QZ_STATUS_BAD_FILE, words,
                      [edit](Place* place) { return read_changed(place, edit); }});
  };
  changed("GGUF of another kind", "imatrix.gguf: key 'general.type' is not \"imatrix\"",
          [](std::string* b) { b->replace(b->find("imatrix", b->find("general.type")), 7, "imatriy"); });
  changed("GGUF of no layer of the model", "imatrix.gguf: holds none of the model's layers",
          [](std::string* b) { replace_all(b, ".weight", ".weighs"); });
  changed("GGUF of half a file", "of 512 bytes reaches beyond the end of the file, which has 5744",
          [](std::string* b) { b->resize(b->size() / 2); });
  cases->push_back(
      {"IM 8 GiB of nothing", QZ_STATUS_BAD_FILE, "'blk.0.attn_q.weight' has 2147483647 values", [](Place* place) {
         const std::string path = place->root() + "/imatrix.dat";
         std::ofstream(path, std::ios::binary) << number(1) + entry(kLayer, 1, INT32_MAX, "");
         std::filesystem::resize_file(path, (uint64_t{1} << 33) + 64);  // a hole
         return read(place, path);
       }});
  cases->push_back(
      {"IM a GGUF file of a model", QZ_STATUS_BAD_FILE, "model.gguf: key 'general.type' is not \"imatrix\"",
       [](Place* place) { return read(place, "tests/data/goldens/quantized/llama-128-gguf-q4_0/model.gguf"); }});
}

}  // namespace hostile
