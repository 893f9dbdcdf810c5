// Rows QC: quantization_config. Rows QT: the packed tensors that it announces.
#include <algorithm>
#include <filesystem>

#include "hostile/packed_edits.h"

namespace hostile {
namespace {

constexpr char kGptq[] = "quantized/qwen2-128-gptq-4bit-sym-g64-descact";
constexpr char kCompressed[] = "quantized/qwen2-128-ct-w4a16-g128";
constexpr uint16_t kInfF16 = 0x7C00, kNanBF16 = 0x7FC0;

Edit weights_is(const char* key, const Json& value) {
  return in_quantization([key, value](Json* q) { (*q)["config_groups"]["group_0"]["weights"][key] = value; });
}
Edit group_is(const char* key, const Json& value) {
  return in_quantization([key, value](Json* q) { (*q)["config_groups"]["group_0"][key] = value; });
}
const Module kQ("model.layers.0.self_attn.q_proj.");

}  // namespace

void add_packed_cases(Cases* cases) {
  // Refused when the directory is opened, or - forward - when the module is decoded.
  const auto add = [&](const char* golden, bool forward, const char* id, const char* words, const Edit& edit,
                       qz_status status) {
    cases->push_back({id, status, words, [golden, forward, edit](Place* place) {
                        ModelFiles files = ModelFiles::golden(golden);
                        edit(&files);
                        return forward ? place->forward(files) : place->open(files);
                      }});
  };
  const auto gc = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    add(kGptq, false, id, words, edit, status);
  };
  const auto cc = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    add(kCompressed, false, id, words, edit, status);
  };
  const auto gt = [&](const char* id, const char* words, const Edit& edit) {
    add(kGptq, true, id, words, edit, QZ_STATUS_BAD_FILE);
  };
  const auto ct = [&](const char* id, const char* words, const Edit& edit) {
    add(kCompressed, true, id, words, edit, QZ_STATUS_BAD_FILE);
  };
  const qz_status unsupported = QZ_STATUS_UNSUPPORTED;

  gc("QC quantization_config is a list", "quantization_config must be an object",
     [](ModelFiles* m) { m->config([](Json* c) { (*c)["quantization_config"] = Json::array(); }); });
  gc("QC no method", "key 'quant_method' is missing", in_quantization([](Json* q) { *q = {{"zero_point", true}}; }));
  gc("QC method is a number", "key 'quant_method' is 4, expected a string", quantization_is("quant_method", 4));
  gc("QC AQLM directory", "quantization_config: format 'aqlm'", quantization_is("quant_method", "aqlm"), unsupported);
  gc("QC marlin layout", "quantization_config: format 'marlin'", quantization_is("is_marlin_format", true),
     unsupported);
  gc("QC 5 bits in a stream", "bits 5 in checkpoint_format 'gptq'", quantization_is("bits", 5), unsupported);
  gc("QC 1 bit", "bits 1, expected 2 to 8", quantization_is("bits", 1), unsupported);
  gc("QC 2^40 bits", "bits 1099511627776, expected 2 to 8", quantization_is("bits", int64_t{1} << 40), unsupported);
  gc("QC bits in quotes", "key 'bits' is \"4\", expected an integer", quantization_is("bits", "4"));
  gc("QC bits missing", "key 'bits' is missing", in_quantization([](Json* q) { q->erase("bits"); }));
  gc("QC group of 20", "group_size 20, expected a multiple of 8 from 16 to 1024, or -1",
     quantization_is("group_size", 20), unsupported);
  gc("QC group of 0", "group_size 0, expected", quantization_is("group_size", 0), unsupported);
  gc("QC negative group", "group_size -64, expected", quantization_is("group_size", -64), unsupported);
  gc("QC group of 2^32 + 64", "group_size 4294967360, expected", quantization_is("group_size", (int64_t{1} << 32) + 64),
     unsupported);
  gc("QC sym is text", "key 'sym' is \"no\", expected true or false", quantization_is("sym", "no"));
  gc("QC desc_act is a number", "key 'desc_act' is 1, expected true or false", quantization_is("desc_act", 1));
  gc("QC other words", "pack_dtype 'int64', expected int32", quantization_is("pack_dtype", "int64"), unsupported);
  gc("QC dynamic is a list", "key 'dynamic' is [], expected an object", quantization_is("dynamic", Json::array()));
  gc("QC dynamic with an expression that could blow up", "pattern '(a+)+{5}(?=b)': not one of the regular expressions",
     quantization_is("dynamic", {{"(a+)+{5}(?=b)", Json::object()}}), unsupported);
  gc("QC dynamic rule is a number", "dynamic '.*q_proj' is 3, expected an object",
     quantization_is("dynamic", {{".*q_proj", 3}}));
  gc("QC dynamic rule of 77 bits", "bits 77, expected 2 to 8",
     quantization_is("dynamic", {{".*q_proj", {{"bits", 77}}}}), unsupported);
  gc("QC list of modules is a number", "key 'modules_in_block_to_quantize' holds 1, expected lists",
     quantization_is("modules_in_block_to_quantize", 1));
  gc("QC packed but not covered", "is packed but quantization_config of config.json does not cover it",
     quantization_is("modules_in_block_to_quantize", {"k_proj"}));
  cc("QC config_groups missing", "key 'config_groups' is missing, expected an object",
     in_quantization([](Json* q) { q->erase("config_groups"); }));
  cc("QC preset instead of a group", "config_groups.group_0 is \"W4A16\", expected an object",
     in_quantization([](Json* q) { (*q)["config_groups"]["group_0"] = "W4A16"; }), unsupported);
  cc("QC block-wise scales", "weights.strategy is \"block\"", weights_is("strategy", "block"), unsupported);
  cc("QC floating-point codes", "weights.type is \"float\", expected \"int\"", weights_is("type", "float"),
     unsupported);
  cc("QC dynamic weights", "weights.dynamic is true, expected false", weights_is("dynamic", true), unsupported);
  cc("QC 16 bits", "num_bits 16, expected 2 to 8", weights_is("num_bits", 16), unsupported);
  cc("QC group of 7", "group_size 7, expected a multiple of 8 from 16 to 1024", weights_is("group_size", 7),
     unsupported);
  cc("QC unknown actorder", "weights.actorder is \"random\"", weights_is("actorder", "random"), unsupported);
  cc("QC weights is a list", "weights is [], expected an object", group_is("weights", Json::array()), unsupported);
  cc("QC another packing", "format is \"nvfp4-pack-quantized\", expected \"pack-quantized\"",
     group_is("format", "nvfp4-pack-quantized"), unsupported);
  cc("QC targets is text", "key 'targets' is \"Linear\", expected a list", group_is("targets", "Linear"));
  cc("QC target is a number", "target 5, expected a string", group_is("targets", {5}));
  cc("QC target with an expression that is not understood", "pattern '[z-a]': not one of the regular expressions",
     group_is("targets", {"re:[z-a]"}), unsupported);
  cc("QC ignore is an object", "key 'ignore' is {}, expected a list",
     in_quantization([](Json* q) { (*q)["ignore"] = Json::object(); }));
  cc("QC sparse weights", "sparsity_config.format is \"sparse-24-bitmask\"",
     in_quantization([](Json* q) { (*q)["sparsity_config"] = {{"format", "sparse-24-bitmask"}}; }), unsupported);

  const auto older = [](const std::function<void(ModelFiles*)>& edit) {
    return [edit](ModelFiles* m) {  // the configuration in a file of its own, as old GPTQ tools wrote it
      m->config([](Json* c) { c->erase("quantization_config"); });
      edit(m);
    };
  };
  gc("QC quantize_config.json is not JSON", "quantize_config.json: not valid JSON",
     older([](ModelFiles* m) { m->files["quantize_config.json"] = "{'bits': 4}"; }));
  gc("QC quantize_config.json is a list", "quantize_config.json: must be an object",
     older([](ModelFiles* m) { m->files["quantize_config.json"] = "[4, 128]"; }));
  gc("QC quantize_config.json of 6 bits", "bits 6 in checkpoint_format",
     older([](ModelFiles* m) { m->json("quantize_config.json", [](Json* q) { (*q)["bits"] = 6; }); }), unsupported);

  gc("QT codes missing", "1 missing tensor: model.layers.0.self_attn.q_proj.qweight", kQ.without("qweight"));
  gt("QT scales missing", "'model.layers.0.self_attn.q_proj': scales: missing, expected a tensor of shape [2, 128]",
     kQ.without("scales"));
  gt("QT zero points missing", "q_proj': qzeros: missing", kQ.without("qzeros"));
  gt("QT g_idx missing where desc_act is true", "g_idx: missing", kQ.without("g_idx"));
  gt("QT codes of another shape", "qweight: shape [8, 256], expected [16, 128]",
     kQ.tensor("qweight", [](Tensor* t) { t->shape = {8, 256}; }));
  gt("QT codes of another rank", "qweight: shape [2048], expected [16, 128]",
     kQ.tensor("qweight", [](Tensor* t) { t->shape = {2048}; }));
  gt("QT codes of another type", "q_proj': qweight: type F32, expected I32",
     kQ.tensor("qweight", [](Tensor* t) { t->dtype = "F32"; }));
  gt("QT codes for another width", "qweight: shape [15, 128], expected [16, 128]", kQ.tensor("qweight", [](Tensor* t) {
    t->shape = {15, 128};
    t->bytes.resize(15 * 128 * 4);
  }));
  gt("QT codes without elements", "qweight: shape [0, 128], expected", kQ.tensor("qweight", [](Tensor* t) {
    t->shape = {0, 128};
    t->bytes.clear();
  }));
  gt("QT scales of another shape", "scales: shape [128, 2], expected [2, 128]",
     kQ.tensor("scales", [](Tensor* t) { t->shape = {128, 2}; }));
  gt("QT infinite scale", "scales: element 5 is not a finite number",
     kQ.tensor("scales", [](Tensor* t) { set_half(t, 5, kInfF16); }));
  gt("QT scales are integers", "q_proj': scales: type I16, expected F16",
     kQ.tensor("scales", [](Tensor* t) { t->dtype = "I16"; }));
  gt("QT zero points of another shape", "qzeros: shape [4, 8], expected [2, 16]",
     kQ.tensor("qzeros", [](Tensor* t) { t->shape = {4, 8}; }));
  gt("QT zero point that a symmetric model cannot have", "expected 8 because sym is true",
     kQ.tensor("qzeros", [](Tensor* t) { t->bytes[0] = '\x11'; }));
  gt("QT g_idx beyond the groups", "g_idx: column 3 is in group 2, expected 0 to 1",
     kQ.tensor("g_idx", [](Tensor* t) { set_int(t, 3, 2); }));
  gt("QT g_idx below 0", "g_idx: column 4 is in group -1, expected 0 to 1",
     kQ.tensor("g_idx", [](Tensor* t) { set_int(t, 4, -1); }));
  gt("QT g_idx of 2^31 - 1", "is in group 2147483647, expected 0 to 1",
     kQ.tensor("g_idx", [](Tensor* t) { set_int(t, 0, INT32_MAX); }));
  gt("QT g_idx too short", "g_idx: shape [127], expected [128]", kQ.tensor("g_idx", [](Tensor* t) {
    t->shape = {127};
    t->bytes.resize(127 * 4);
  }));
  cases->push_back({"QT g_idx of 4 GiB of nothing", QZ_STATUS_BAD_FILE,
                    "q_proj.g_idx' has 4294967296 bytes, too many for a matrix of 128 x 128", [](Place* place) {
                      ModelFiles files = ModelFiles::golden(kGptq);
                      const std::string name = kQ.part("g_idx");
                      kQ.without("g_idx")(&files);
                      kQ.with("g_idx", {"", "I32", {128}, std::string(512, '\0')})(&files);  // the last
                      uint64_t end = 0;
                      files.header([&](std::string* text) {
                        Json header = Json::parse(*text);
                        Json& entry = header[name];
                        end = entry["data_offsets"][0].get<uint64_t>() + (uint64_t{1} << 32);
                        entry["shape"][0] = 1 << 30;
                        entry["data_offsets"][1] = end;
                        *text = header.dump();
                        end += 8 + text->size();
                      });
                      files.write(place->model());
                      std::filesystem::resize_file(place->model() + "/" + kSingle, end);  // a hole
                      return place->forward(place->model());
                    }});
  gt("QT bits that the codes do not have", "qweight: shape [16, 128], expected [32, 128]", quantization_is("bits", 8));
  gt("QT groups that the scales do not have", "scales: shape [2, 128], expected [4, 128]", [](ModelFiles* m) {
    quantization_is("group_size", 32)(m);
    m->tensor(kQ.part("qzeros"), [](Tensor* t) {
      t->shape = {4, 16};
      t->bytes.resize(4 * 16 * 4, '\x77');
    });
  });
  ct("QT packed codes of another shape", "weight_packed: shape [64, 32], expected [128, 16]",
     kQ.tensor("weight_packed", [](Tensor* t) { t->shape = {64, 32}; }));
  ct("QT packed codes are unsigned", "weight_packed: type U32, expected I32",
     kQ.tensor("weight_packed", [](Tensor* t) { t->dtype = "U32"; }));
  ct("QT packed scale missing", "q_proj': weight_scale: missing", kQ.without("weight_scale"));
  ct("QT packed scale of another shape", "weight_scale: shape [1, 128], expected [128, 1]",
     kQ.tensor("weight_scale", [](Tensor* t) { t->shape = {1, 128}; }));
  ct("QT packed scale is NaN", "weight_scale: element 7 is not a finite number",
     kQ.tensor("weight_scale", [](Tensor* t) { set_half(t, 7, kNanBF16); }));
  ct("QT weight_shape missing", "weight_shape: missing", kQ.without("weight_shape"));
  ct("QT weight_shape of another matrix", "weight_shape: [128, 64], expected [128, 128]",
     kQ.tensor("weight_shape", [](Tensor* t) { t->bytes[8] = 64; }));
  ct("QT weight_shape of 2^56", "weight_shape: [72057594037928064, 128], expected",
     kQ.tensor("weight_shape", [](Tensor* t) { t->bytes[7] = 1; }));
  ct("QT weight_shape of three numbers", "weight_shape: shape [3], expected [2]",
     kQ.tensor("weight_shape", [](Tensor* t) {
       t->shape = {3};
       t->bytes.resize(24);
     }));
  ct("QT zero points in a symmetric model", "weight_zero_point: found, although the configuration says symmetric",
     kQ.with("weight_zero_point", {"", "I32", {16, 1}, std::string(64, '\0')}));
  ct("QT zero points missing in an asymmetric model", "weight_zero_point: missing", weights_is("symmetric", false));
  ct("QT packed zero points of another shape", "weight_zero_point: shape [128, 1], expected [16, 1]",
     [](ModelFiles* m) {
       weights_is("symmetric", false)(m);
       kQ.with("weight_zero_point", {"", "I32", {128, 1}, std::string(512, '\0')})(m);
     });
  ct("QT weight_g_idx beyond the groups", "weight_g_idx: column 0 is in group 1, expected 0 to 0",
     kQ.with("weight_g_idx", {"", "I32", {128}, [] {
                                std::string g(512, '\0');
                                g[0] = 1;
                                return g;
                              }()}));
  ct("QT one scale for the tensor, zero point out of range", "weight_zero_point: 100, expected -8 to 7",
     [](ModelFiles* m) {
       weights_is("strategy", "tensor")(m);
       weights_is("symmetric", false)(m);
       m->tensor(kQ.part("weight_scale"), [](Tensor* t) {
         t->shape = {1};
         t->bytes.resize(2);
       });
       kQ.with("weight_zero_point", {"", "I8", {1}, "d"})(m);
     });
  cc("QT bias of another length", "'model.layers.0.self_attn.q_proj.bias' must have shape [128]",
     kQ.tensor("bias", [](Tensor* t) {
       t->shape = {127};
       t->bytes.resize(254);
     }));
}

}  // namespace hostile
