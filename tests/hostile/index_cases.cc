// Rows IX: model.safetensors.index.json and the shards that it names.
#include <filesystem>

#include "hostile/place.h"

namespace hostile {
namespace {

constexpr char kFirst[] = "model-00001-of-00002.safetensors";
constexpr char kSecond[] = "model-00002-of-00002.safetensors";

Edit norm_in(const Json& value) {
  return [value](ModelFiles* m) {
    m->json(kIndex, [&](Json* index) { (*index)["weight_map"]["model.norm.weight"] = value; });
  };
}
Edit index_is(const std::string& text) {
  return [text](ModelFiles* m) { m->files[kIndex] = text; };
}

}  // namespace

void add_index_cases(Cases* cases) {
  const auto ix = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    cases->push_back({id, status, words, [edit](Place* place) {
                        ModelFiles files = ModelFiles::golden("models/qwen2-bias-2shards");
                        edit(&files);
                        return place->open(files);
                      }});
  };
  const auto limited = [&](const char* id, const char* words, const char* key, const char* value) {
    cases->push_back({id, QZ_STATUS_BAD_FILE, words, [key, value](Place* place) {
                        place->set(key, value);
                        return place->open(ModelFiles::golden("models/qwen2-bias-2shards"));
                      }});
  };
  ix("IX01 absolute path", "'/etc/passwd' is not a plain file name", norm_in("/etc/passwd"));
  ix("IX01 path upwards", "'../model.safetensors' is not a plain file name", norm_in("../model.safetensors"));
  ix("IX01 path downwards", "'sub/model.safetensors' is not a plain file name", norm_in("sub/model.safetensors"));
  ix("IX01 backslash", "'..\\model.safetensors' is not a plain file name", norm_in("..\\model.safetensors"));
  ix("IX01 drive letter", "'C:model.safetensors' is not a plain file name", norm_in("C:model.safetensors"));
  ix("IX01 empty name", "'' is not a plain file name", norm_in(""));
  ix("IX01 the directory above", "'..' is not a plain file name", norm_in(".."));
  ix("IX01 NUL in the name", "'model' is not a plain file name", norm_in(std::string("model\0.safetensors", 18)));
  ix("IX01 another kind of file", "'config.json' does not end in .safetensors", norm_in("config.json"));
  ix("IX01 value is a number", "'model.norm.weight': expected a file name, found number", norm_in(2));
  ix("IX01 value is null", "'model.norm.weight': expected a file name, found null", norm_in(nullptr));
  ix("IX02 shard links out of the directory", "model-00002-of-00002.safetensors: a symbolic link to",
     [](ModelFiles*) {});
  cases->back().run = [](Place* place) {
    ModelFiles::golden("models/qwen2-bias-2shards").write(place->model());
    std::filesystem::rename(place->model() + "/" + kSecond, place->root() + "/outside.safetensors");
    std::filesystem::create_symlink("../outside.safetensors", place->model() + "/" + kSecond);
    return place->open(place->model());
  };
  ix(
      "IX03 one shard missing", "1 of 2 shards are missing (incomplete download?): model-00002",
      [](ModelFiles* m) { m->files.erase(kSecond); }, QZ_STATUS_IO);
  ix(
      "IX03 all shards missing",
      "2 of 2 shards are missing (incomplete download?): model-00001-of-00002.safetensors, model-",
      [](ModelFiles* m) {
        m->files.erase(kFirst);
        m->files.erase(kSecond);
      },
      QZ_STATUS_IO);
  ix("IX03 name longer than the system allows", "1 of 3 shards are missing",
     norm_in(std::string(3000, 's') + ".safetensors"), QZ_STATUS_IO);
  ix("IX04 listed tensor is in no shard", "weight_map: tensor 'model.extra.weight' is not in", [](ModelFiles* m) {
    m->json(kIndex, [](Json* index) { (*index)["weight_map"]["model.extra.weight"] = kFirst; });
  });
  ix("IX04 tensor listed for the wrong shard", "weight_map: tensor 'model.norm.weight' is not in", norm_in(kFirst));
  ix("IX04 needed tensor is not listed", "1 missing tensor: model.norm.weight",
     [](ModelFiles* m) { m->json(kIndex, [](Json* index) { (*index)["weight_map"].erase("model.norm.weight"); }); });
  ix("ST25 tensor in two shards, different", "with different contents", [](ModelFiles* m) {
    m->tensors(
        [](std::vector<Tensor>* all) { all->push_back({"model.norm.weight", "F16", {72}, std::string(144, '\1')}); },
        kFirst);
  });
  ix("IX07 tensor listed twice", "key 'model.norm.weight' occurs twice in one object", [](ModelFiles* m) {
    m->replace(kIndex, "\"weight_map\": {",
               std::string("\"weight_map\": { \"model.norm.weight\": \"") + kSecond + "\",");
  });
  limited("IX07 more tensors than a lowered limit", "27 tensors; at most 9 are allowed", "limits.tensors_per_model",
          "9");
  limited("IX07 index above a lowered limit", "model.safetensors.index.json: 2239 bytes; at most 100 are allowed",
          "limits.index_bytes", "100");
  ix("IX11 index is a list", "index.json: expected an object, found array", index_is("[]"));
  ix("IX11 index is empty", "index.json: not valid JSON at byte 1:", index_is(""));
  ix("IX11 index is cut", "index.json: not valid JSON at byte 1001",
     [](ModelFiles* m) { m->files[kIndex].resize(1000); });
  ix("IX11 weight_map is missing", "key 'weight_map': expected an object, found nothing",
     index_is("{\"metadata\": {}}"));
  ix("IX11 weight_map is a list", "key 'weight_map': expected an object, found array",
     index_is("{\"weight_map\": []}"));
  ix("IX11 weight_map is empty", "key 'weight_map' is empty", index_is("{\"weight_map\": {}}"));
  ix("IX11 metadata nested without end", "index.json: nested deeper than 64 levels",
     index_is("{\"metadata\": " + std::string(100000, '[') + "}"));
}

}  // namespace hostile
