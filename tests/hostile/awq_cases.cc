// Rows AW: directories of AWQ.
#include "hostile/packed_edits.h"

namespace hostile {
namespace {

constexpr char kGolden[] = "quantized/llama-128-awq-4bit-g128";
const Module kModule("model.layers.0.self_attn.k_proj.");  // 64 x 128, one group

}  // namespace

void add_awq_cases(Cases* cases) {
  const auto add = [&](const char* id, const char* words, const Edit& edit, qz_status status, bool forward) {
    cases->push_back({std::string("AW ") + id, status, words, [edit, forward](Place* place) {
                        ModelFiles files = ModelFiles::golden(kGolden);
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
  const qz_status unsupported = QZ_STATUS_UNSUPPORTED;

  config("3 bits", "quantization_config: bits 3, expected 4", "bits", 3, unsupported);
  config("2^50 bits", "bits 1125899906842624, expected 4", "bits", int64_t{1} << 50, unsupported);
  config("bits are a list", "key 'bits' is [4], expected an integer", "bits", {4});
  config("bits and a half", "key 'bits' is 4.5, expected an integer", "bits", 4.5);
  config("group of 12", "group_size 12, expected a multiple of 8", "group_size", 12, unsupported);
  config("group of 4096", "group_size 4096, expected a multiple of 8", "group_size", 4096, unsupported);
  config("group of -2^63", "group_size -9223372036854775808, expected", "group_size", INT64_MIN, unsupported);
  config("group is text", "key 'group_size' is \"128\", expected an integer", "group_size", "128");
  config("zero_point is text", "key 'zero_point' is \"yes\", expected true or false", "zero_point", "yes");
  config("version gemv", "version 'gemv', expected gemm", "version", "GEMV", unsupported);
  config("version is a number", "key 'version' is 2, expected a string", "version", 2);
  config("lm_head is a number", "key 'lm_head' is 1, expected true or false", "lm_head", 1);
  config("kept modules are a word", "key 'modules_to_not_convert' is \"k_proj\", expected a list of names",
         "modules_to_not_convert", "k_proj");
  config("a kept module is a number", "key 'modules_to_not_convert' holds 17, expected a name",
         "modules_to_not_convert", {17});

  add("codes missing", "1 missing tensor: model.layers.0.self_attn.k_proj.qweight", kModule.without("qweight"),
      QZ_STATUS_BAD_FILE, false);
  tensor("scales missing", "k_proj': scales: missing, expected a tensor of shape [1, 64]", kModule.without("scales"));
  tensor("zero points missing", "k_proj': qzeros: missing, expected a tensor of shape [1, 8]",
         kModule.without("qzeros"));
  tensor("codes along the other axis", "k_proj': qweight: shape [8, 128], expected [128, 8]",
         kModule.shape("qweight", {8, 128}));
  tensor("codes of half the outputs", "k_proj': qweight: shape [128, 4], expected [128, 8]",
         kModule.shape("qweight", {128, 4}));
  tensor("codes are floats", "k_proj': qweight: type F32, expected I32", kModule.dtype("qweight", "F32"));
  tensor("codes without a shape", "k_proj': qweight: shape [], expected [128, 8]", kModule.shape("qweight", {}));
  tensor("scales of another group", "k_proj': scales: shape [2, 64], expected [1, 64]",
         kModule.shape("scales", {2, 64}));
  tensor("scales are integers", "k_proj': scales: type I16, expected F16 or BF16", kModule.dtype("scales", "I16"));
  tensor("scale is NaN", "k_proj': scales: element 9 is not a finite number",
         kModule.tensor("scales", [](Tensor* t) { set_half(t, 9, 0x7FC0); }));
  tensor("zero points of another shape", "k_proj': qzeros: shape [8, 1], expected [1, 8]",
         kModule.shape("qzeros", {8, 1}));
  tensor("groups that are not there", "qzeros: shape [1, 16], expected [4, 16]", quantization_is("group_size", 32));
}

}  // namespace hostile
