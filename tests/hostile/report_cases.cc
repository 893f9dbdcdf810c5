// Rows RP: written directories that were changed afterwards, and reports that are not true. `out` holds llama-tied in
// 4 bit with its report; one thing is changed; verify must say what.
#include <filesystem>

#include "hostile/place.h"

namespace hostile {
namespace {

constexpr char kReport[] = "qz_report.json";

std::function<Outcome(Place*)> verifying(const Edit& edit) {
  return [edit](Place* place) {
    const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
    place->make_output(model.get());
    const Outcome before = place->verify(model.get(), place->out());
    EXPECT_EQ(before.status, QZ_STATUS_OK) << before.words;
    ModelFiles files = ModelFiles::load(place->out());
    edit(&files);
    std::filesystem::remove_all(place->out());
    files.write(place->out());
    return place->verify(model.get(), place->out());
  };
}

Edit report(const std::function<void(Json*)>& edit) {
  return [edit](ModelFiles* m) { m->json(kReport, edit); };
}

}  // namespace

void add_report_cases(Cases* cases) {
  const auto rp = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_MISMATCH) {
    cases->push_back({id, status, words, verifying(edit)});
  };
  rp("RP bit of a code flipped", "2 findings, the first: model.safetensors SHA-256 is ",
     [](ModelFiles* m) { m->files[kSingle].back() ^= 1; });
  rp("RP report with another hash of a file", "the report has 0000",
     report([](Json* r) { (*r)["files"][0]["sha256"] = std::string(64, '0'); }));
  rp("RP report names a file that is not there", "model-9.safetensors is in the report, but not in the directory",
     report([](Json* r) { (*r)["files"][0]["file"] = "model-9.safetensors"; }));
  rp("RP report with another hash of a matrix", "model.layers.0.self_attn.q_proj decodes to another matrix",
     report([](Json* r) { (*r)["modules"][0]["sha256"] = std::string(64, '0'); }));
  rp("RP report is cut", "qz_report.json: not valid JSON at byte 201",
     [](ModelFiles* m) { m->files[kReport].resize(200); });
  rp("RP report is null", "expected an object, found null", [](ModelFiles* m) { m->files[kReport] = "null"; });
  rp("RP report is a list", "qz_report.json: expected an object, found array",
     [](ModelFiles* m) { m->files[kReport] = "[]"; });
  rp("RP modules is a number", "modules: expected a list, found number", report([](Json* r) { (*r)["modules"] = 5; }));
  rp("RP module is a number", "modules: expected objects, found number",
     report([](Json* r) { (*r)["modules"][3] = 5; }));
  rp("RP files is a number", "files: expected a list, found number", report([](Json* r) { (*r)["files"] = 5; }));
  rp("RP file is a number", "with \"file\" and \"sha256\", found 5", report([](Json* r) { (*r)["files"][0] = 5; }));
  rp("RP hash is a number",
     "with \"file\" and \"sha256\", found {\"file\":", report([](Json* r) { (*r)["files"][0]["sha256"] = 5; }));
  rp("RP report and norm changed", "model.norm.weight differs from the source", [](ModelFiles* m) {
    m->files.erase(kReport);
    m->tensor("model.norm.weight", [](Tensor* t) { set_half(t, 0, 0x1234); });
  });
  rp("RP tensor reshaped", "input_layernorm.weight' must have shape [64] by config.json, found [8, 8]",
     [](ModelFiles* m) {
       m->files.erase(kReport);
       m->tensor("model.layers.0.input_layernorm.weight", [](Tensor* t) { t->shape = {8, 8}; });
     });
  rp("RP configuration lost a layer", "has 8 linear layers, expected 15", [](ModelFiles* m) {
    m->files.erase(kReport);
    m->config([](Json* c) { (*c)["num_hidden_layers"] = 1; });
  });
  rp("RP codes lost", "1 missing tensor: model.layers.1.mlp.up_proj.weight_packed",
     [](ModelFiles* m) { m->remove_tensor("model.layers.1.mlp.up_proj.weight_packed"); });
  rp("RP scale lost", "up_proj': weight_scale: missing", [](ModelFiles* m) {
    m->files.erase(kReport);
    m->remove_tensor("model.layers.1.mlp.up_proj.weight_scale");
  });
  rp("RP weights cut", "qz_model_verify: /out: 1 findings, the first: /out/model.safetensors: tensor",
     [](ModelFiles* m) { m->files[kSingle].resize(m->files[kSingle].size() - 1); });
  rp("RP configuration lost", "the first: /out/config.json: cannot open",
     [](ModelFiles* m) { m->files.erase("config.json"); });

  cases->push_back({"RP report links out of the directory", QZ_STATUS_MISMATCH, "/qz_report.json: a symbolic link to",
                    [](Place* place) {
                      const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
                      place->make_output(model.get());
                      std::filesystem::rename(place->out() + "/" + kReport, place->root() + "/outside.json");
                      std::filesystem::create_symlink("../outside.json", place->out() + "/" + kReport);
                      EXPECT_EQ(qz_report_count(place->good(place->out()).get()), 0u);
                      return place->verify(model.get(), place->out());
                    }});
  cases->push_back({"RP nothing to verify", QZ_STATUS_MISMATCH, "the first: /nothing: cannot open", [](Place* place) {
                      const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
                      return place->verify(model.get(), place->root() + "/nothing");
                    }});
  cases->push_back(
      {"RP report of a model that has none", QZ_STATUS_UNSUPPORTED, "this model carries no report", [](Place* place) {
         const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
         return outcome(qz_report_to_json(model.get(), nullptr, 0, nullptr));
       }});
  cases->push_back({"RP entry that is not there", QZ_STATUS_INVALID_ARGUMENT, "entry 0 of 0", [](Place* place) {
                      const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
                      qz_module_report entry = QZ_INIT(qz_module_report);
                      return outcome(qz_report_get(model.get(), 0, &entry));
                    }});
}

}  // namespace hostile
