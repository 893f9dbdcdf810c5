// Rows HQ: directories of HQQ, whose layers say themselves how they are packed.
#include "hostile/packed_edits.h"

namespace hostile {
namespace {

const Module kModule("model.layers.0.self_attn.o_proj.");  // 128 x 128: 256 groups of 64, two to a byte

ModelFiles made(Place* place) {
  qz_scheme scheme = QZ_INIT(qz_scheme);
  EXPECT_EQ(qz_scheme_preset("w4g64f", &scheme), QZ_STATUS_OK) << qz_last_error();
  const std::string target = place->root() + "/made";
  qz_run_options run = QZ_INIT(qz_run_options);
  run.format = QZ_FORMAT_HQQ;
  run.stream_to = target.c_str();
  qz_model* result = nullptr;
  EXPECT_EQ(qz_rtn_run(place->good("tests/data/goldens/models/llama-128").get(), &scheme, &run, &result), QZ_STATUS_OK)
      << qz_last_error();
  qz_model_free(result);
  return ModelFiles::load(target);
}

Edit settings_are(const std::function<void(Json*)>& edit) {
  return in_quantization([edit](Json* q) { edit(&(*q)["quant_config"]["weight_quant_params"]); });
}
Edit setting_is(const char* key, const Json& value) {
  return settings_are([=](Json* settings) { (*settings)[key] = value; });
}
// A setting of the layer: a number of 32 bits.
Edit layer_is(const char* part, int32_t value) {
  return kModule.tensor(part, [value](Tensor* t) { set_int(t, 0, value); });
}

}  // namespace

void add_hqq_cases(Cases* cases) {
  const auto add = [&](const char* id, const char* words, const Edit& edit, qz_status status, bool forward) {
    cases->push_back({std::string("HQ ") + id, status, words, [=](Place* place) {
                        ModelFiles files = made(place);
                        edit(&files);
                        return forward ? place->forward(files) : place->open(files);
                      }});
  };
  const auto config = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    add(id, words, edit, status, false);
  };
  const auto tensor = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    add(id, words, edit, status, true);
  };
  const qz_status unsupported = QZ_STATUS_UNSUPPORTED;

  config("no settings", "key 'quant_config' is missing, expected an object",
         in_quantization([](Json* q) { q->erase("quant_config"); }));
  config("settings are a list", "key 'quant_config' is [], expected an object",
         quantization_is("quant_config", Json::array()));
  config("settings of weights are a number", "key 'weight_quant_params' is 4, expected an object",
         settings_are([](Json* s) { *s = 4; }));
  config("settings of a kind of layer are text", "key 'weight_quant_params' is missing, expected an object",
         quantization_is("quant_config", {{"self_attn.o_proj", "4 bits"}}));
  config("6 bits", "nbits 6, expected 1, 2, 3, 4 or 8", setting_is("nbits", 6), unsupported);
  config("nbits is text", "key 'nbits' is \"4\", expected an integer", setting_is("nbits", "4"));
  config("group of 4", "group_size 4, expected 8 to 4096", setting_is("group_size", 4), unsupported);
  config("group of 2^33", "group_size 8589934592, expected 8 to 4096", setting_is("group_size", int64_t{1} << 33),
         unsupported);
  config("axis 2", "quantization_config: axis 2, expected 0 or 1", setting_is("axis", 2));
  config("skipped modules are a word", "key 'skip_modules' is \"lm_head\", expected a list of names",
         quantization_is("skip_modules", "lm_head"));

  config("codes missing", "1 missing tensor: model.layers.0.self_attn.o_proj.W_q", kModule.without("W_q"));
  tensor("scales missing", "o_proj': scale: missing, expected a tensor of shape [256, 1]", kModule.without("scale"));
  tensor("zero points missing", "o_proj': zero: missing, expected a tensor of shape [256, 1]", kModule.without("zero"));
  tensor("zero points of another type", "o_proj': zero: type I16, expected", kModule.dtype("zero", "I16"));
  tensor("codes of another shape", "o_proj': W_q: shape [64, 128], expected [128, 64]",
         kModule.shape("W_q", {64, 128}));
  tensor("codes in words", "o_proj': W_q: type I8, expected U8", kModule.dtype("W_q", "I8"));
  tensor("scales on the other axis", "o_proj': scale: shape [1, 256], expected [256, 1]",
         kModule.shape("scale", {1, 256}));
  tensor("scale infinite", "o_proj': scale: element 7 is not a finite number",
         kModule.tensor("scale", [](Tensor* t) { set_half(t, 7, t->dtype == "F16" ? 0x7C00 : 0x7F80); }));
  tensor("zero point NaN", "o_proj': zero: element 8 is not a finite number",
         kModule.tensor("zero", [](Tensor* t) { set_half(t, 8, 0x7FFF); }));
  tensor("a layer of 5 bits", "o_proj': nbits: 5, expected 1, 2, 3, 4 or 8", layer_is("nbits", 5), unsupported);
  tensor("a layer of -4 bits", "o_proj': nbits: -4, expected", layer_is("nbits", -4), unsupported);
  tensor("a layer of 2 bits in the bytes of 4", "o_proj': W_q: shape [128, 64], expected [64, 64]",
         layer_is("nbits", 2));
  tensor("a layer in groups of 0", "o_proj': group_size: 0, expected a divisor of 128 x 128",
         layer_is("group_size", 0));
  tensor("a layer in groups of 48", "o_proj': group_size: 48, expected a divisor", layer_is("group_size", 48));
  tensor("a layer in groups of 2^31 - 1", "o_proj': group_size: 2147483647, expected a divisor",
         layer_is("group_size", INT32_MAX));
  tensor("a layer on axis 3", "o_proj': axis: 3, expected 0 or 1", layer_is("axis", 3));
  tensor("a layer with quantized scales", "o_proj': quant_scale: on, expected off",
         kModule.bytes("quant_scale", 0, "\1"), unsupported);
  tensor("the shape of another layer", "o_proj': shape: [128, 256], expected [128, 128]",
         kModule.tensor("shape", [](Tensor* t) { set_int(t, 2, 256); }));
  tensor("a shape of three sides", "o_proj': shape: shape [3], expected [2]", kModule.shape("shape", {3}));
}

}  // namespace hostile
