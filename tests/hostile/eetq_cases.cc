// Rows EE: directories of EETQ, made from a golden model first: there is none among the goldens.
#include "hostile/packed_edits.h"

namespace hostile {
namespace {

const Module kGate("model.layers.0.mlp.gate_proj.");  // 256 x 128: stored as [128, 256]

// llama-128 with 8-bit rows, in EETQ's layout.
ModelFiles made(Place* place) {
  const Handle<qz_model> model = place->good("tests/data/goldens/models/llama-128");
  const std::string dir = place->root() + "/made";
  qz_scheme scheme = QZ_INIT(qz_scheme);
  EXPECT_EQ(qz_scheme_preset("w8", &scheme), QZ_STATUS_OK) << qz_last_error();
  qz_run_options run = QZ_INIT(qz_run_options);
  run.format = QZ_FORMAT_EETQ;
  run.stream_to = dir.c_str();
  qz_model* result = nullptr;
  EXPECT_EQ(qz_rtn_run(model.get(), &scheme, &run, &result), QZ_STATUS_OK) << qz_last_error();
  qz_model_free(result);
  return ModelFiles::load(dir);
}

}  // namespace

void add_eetq_cases(Cases* cases) {
  const auto add = [&](const char* id, const char* words, const Edit& edit, qz_status status, bool forward) {
    cases->push_back({std::string("EE ") + id, status, words, [edit, forward](Place* place) {
                        ModelFiles files = made(place);
                        edit(&files);
                        return forward ? place->forward(files) : place->open(files);
                      }});
  };
  const auto config = [&](const char* id, const char* words, const char* key, const Json& value,
                          qz_status status = QZ_STATUS_BAD_FILE) {
    add(id, words, quantization_is(key, value), status, false);
  };
  const auto tensor = [&](const char* id, const char* words, const Edit& edit) {
    add(id, words, edit, QZ_STATUS_BAD_FILE, true);
  };

  config("4 bits", "quantization_config: weights 'int4', expected int8", "weights", "int4", QZ_STATUS_UNSUPPORTED);
  config("no word for the bits", "weights '', expected int8", "weights", "", QZ_STATUS_UNSUPPORTED);
  config("bits as a number", "key 'weights' is 8, expected a string", "weights", 8);
  config("bits in a list", "key 'weights' is [\"int8\"], expected a string", "weights", {"int8"});
  config("kept modules are an object", "key 'modules_to_not_convert' is {}, expected a list of names",
         "modules_to_not_convert", Json::object());
  config("kept modules are true", "key 'modules_to_not_convert' is true, expected a list of names",
         "modules_to_not_convert", true);
  config("a kept module is null", "key 'modules_to_not_convert' holds null, expected a name", "modules_to_not_convert",
         {nullptr});
  config("a kept module is a list", "key 'modules_to_not_convert' holds [], expected a name", "modules_to_not_convert",
         Json::array({Json::array()}));
  config("a method of another name", "quantization_config: format 'eetq2'", "quant_method", "eetq2",
         QZ_STATUS_UNSUPPORTED);

  add("codes missing", "gate_proj': weight: missing, expected a tensor of shape [128, 256]", kGate.without("weight"),
      QZ_STATUS_BAD_FILE, true);
  tensor("codes turned", "gate_proj': weight: shape [256, 128], expected [128, 256]",
         kGate.shape("weight", {256, 128}));
  tensor("codes of half the outputs", "gate_proj': weight: shape [128, 128], expected [128, 256]",
         kGate.shape("weight", {128, 128}));
  tensor("codes of another rank", "gate_proj': weight: shape [32768], expected [128, 256]",
         kGate.shape("weight", {32768}));
  tensor("codes without elements", "gate_proj': weight: shape [0, 256], expected [128, 256]",
         kGate.tensor("weight", [](Tensor* t) {
           t->shape = {0, 256};
           t->bytes.clear();
         }));
  tensor("codes are unsigned", "gate_proj': weight: type U8, expected I8", kGate.dtype("weight", "U8"));
  tensor("codes are 8-bit floats", "gate_proj': weight: type F8_E4M3, expected I8", kGate.dtype("weight", "F8_E4M3"));
  tensor("scales of another number", "gate_proj': weight_scales: shape [255], expected [256]",
         kGate.shape("weight_scales", {255}));
  tensor("scales of another rank", "gate_proj': weight_scales: shape [256, 1], expected [256]",
         kGate.shape("weight_scales", {256, 1}));
  tensor("scales without a shape", "gate_proj': weight_scales: shape [], expected [256]",
         kGate.shape("weight_scales", {}));
  tensor("scales in bfloat16", "gate_proj': weight_scales: type BF16, expected F16",
         kGate.dtype("weight_scales", "BF16"));
  tensor("scales are integers", "gate_proj': weight_scales: type I16, expected F16",
         kGate.dtype("weight_scales", "I16"));
  tensor("scale is NaN", "gate_proj': weight_scales: element 11 is not a finite number",
         kGate.tensor("weight_scales", [](Tensor* t) { set_half(t, 11, 0x7E00); }));
  tensor("scale is infinite", "gate_proj': weight_scales: element 255 is not a finite number",
         kGate.tensor("weight_scales", [](Tensor* t) { set_half(t, 255, 0xFC00); }));
}

}  // namespace hostile
