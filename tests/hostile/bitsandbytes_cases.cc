// Rows BB: directories of bitsandbytes, NF4 with double quantization and LLM.int8().
#include "hostile/packed_edits.h"

namespace hostile {
namespace {

constexpr char kNf4[] = "quantized/qwen2-128-bnb-nf4-dq", kInt8[] = "quantized/qwen2-128-bnb-int8";
constexpr char kState[] = "weight.quant_state.bitsandbytes__nf4";
const Module kV("model.layers.0.self_attn.v_proj.");  // 64 x 128: 128 blocks of 64
const Module kUp("model.layers.0.mlp.up_proj.");      // 256 x 128

// quant_state with one key changed; its tensor grows or shrinks with it.
Edit state_is(const char* key, const Json& value) {
  return kV.tensor(kState, [=](Tensor* t) {
    Json state = Json::parse(t->bytes);
    if (value.is_null()) {
      state.erase(key);
    } else {
      state[key] = value;
    }
    t->bytes = state.dump();
    t->shape = {static_cast<int64_t>(t->bytes.size())};
  });
}
Edit state_text(const std::string& text) {
  return kV.tensor(kState, [=](Tensor* t) {
    t->bytes = text;
    t->shape = {static_cast<int64_t>(text.size())};
  });
}

}  // namespace

void add_bitsandbytes_cases(Cases* cases) {
  const auto add = [&](const char* golden, const char* id, const char* words, const Edit& edit, qz_status status,
                       bool forward) {
    cases->push_back({std::string("BB ") + id, status, words, [=](Place* place) {
                        ModelFiles files = ModelFiles::golden(golden);
                        edit(&files);
                        return forward ? place->forward(files) : place->open(files);
                      }});
  };
  const auto config = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    add(kNf4, id, words, edit, status, false);
  };
  const auto four = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    add(kNf4, id, words, edit, status, true);
  };
  const auto eight = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    add(kInt8, id, words, edit, status, true);
  };
  const qz_status unsupported = QZ_STATUS_UNSUPPORTED;

  config("4 and 8 bits at once", "load_in_4bit and load_in_8bit are both true", quantization_is("load_in_8bit", true));
  config("neither 4 nor 8 bits", "load_in_4bit and load_in_8bit are both false",
         quantization_is("load_in_4bit", false));
  config("load_in_4bit is a number", "key 'load_in_4bit' is 1, expected true or false",
         quantization_is("load_in_4bit", 1));
  config("another table", "bnb_4bit_quant_type 'int4', expected nf4 or fp4",
         quantization_is("bnb_4bit_quant_type", "int4"), unsupported);
  config("the table is a list", "key 'bnb_4bit_quant_type' is [], expected a string",
         quantization_is("bnb_4bit_quant_type", Json::array()));
  config("double quantization is text", "key 'bnb_4bit_use_double_quant' is \"True\", expected true or false",
         quantization_is("bnb_4bit_use_double_quant", "True"));
  config("skipped modules are an object", "key 'llm_int8_skip_modules' is {}, expected a list of names",
         quantization_is("llm_int8_skip_modules", Json::object()));
  config("a skipped module is null", "key 'llm_int8_skip_modules' holds null, expected a name",
         quantization_is("llm_int8_skip_modules", {nullptr}));
  add(kInt8, "the threshold is text", "key 'llm_int8_threshold' is \"6\", expected a number",
      quantization_is("llm_int8_threshold", "6"), QZ_STATUS_BAD_FILE, false);

  four("state missing", "v_proj': weight.quant_state.bitsandbytes__nf4: missing", kV.without(kState));
  four("state is not JSON", "quant_state.bitsandbytes__nf4: not valid JSON", state_text("{'blocksize': 64}"));
  four("state is a list", "quant_state.bitsandbytes__nf4: must be an object", state_text("[64]"));
  four("state of FP4", "quant_state: key 'quant_type' is \"fp4\", expected nf4", state_is("quant_type", "fp4"));
  four("state of another shape", "quant_state: key 'shape' is [128,64], expected [64,128]",
       state_is("shape", {128, 64}));
  four("state without a shape", "quant_state: key 'shape' is missing, expected [64,128]", state_is("shape", nullptr));
  four("state of float8", "quant_state: key 'dtype' is \"float8\", expected", state_is("dtype", "float8"));
  four("blocks of 48", "quant_state: key 'blocksize' is 48, expected a power of two", state_is("blocksize", 48));
  four("blocks of 2^40", "key 'blocksize' is 1099511627776, expected a power of two",
       state_is("blocksize", int64_t{1} << 40));
  four("negative blocks", "key 'blocksize' is -64, expected a power of two", state_is("blocksize", -64));
  four("scales in blocks of 255", "key 'nested_blocksize' is 255, expected 256", state_is("nested_blocksize", 255));
  four("scales in bfloat16", "key 'nested_dtype' is \"bfloat16\", expected float32",
       state_is("nested_dtype", "bfloat16"));
  four("an offset of 1e300", "key 'nested_offset' is 1e+300, expected a number", state_is("nested_offset", 1e300));
  four("other blocks than the scales'", "v_proj': weight.absmax: shape [128], expected [64]",
       state_is("blocksize", 128));
  four("scales missing", "v_proj': weight.absmax: missing, expected a tensor of shape [128]",
       kV.without("weight.absmax"));
  four("scales of scales missing", "v_proj': weight.nested_absmax: missing", kV.without("weight.nested_absmax"));
  four("scale of scales infinite", "v_proj': weight.nested_absmax: element 0 is not a finite number",
       kV.bytes("weight.nested_absmax", 0, std::string("\0\0\x80\x7f", 4)));
  four("table of scales too short", "v_proj': weight.nested_quant_map: shape [255], expected [256]",
       kV.shape("weight.nested_quant_map", {255}));
  four("another table of codes", "v_proj': weight.quant_map: not bitsandbytes' table",
       kV.bytes("weight.quant_map", 4, std::string(4, '\x3e')), unsupported);
  four("codes of half the matrix", "v_proj': weight: 2048 bytes of codes, expected 4096",
       kV.shape("weight", {2048, 1}));
  four("codes are 64-bit integers", "v_proj': weight: type I64, expected U8", [](ModelFiles* m) {
    kV.shape("weight", {512, 1})(m);
    kV.tensor("weight", [](Tensor* t) { t->bytes.resize(4096); })(m);
    kV.dtype("weight", "I64")(m);
  });

  eight("row scales missing", "up_proj': SCB: missing, expected a tensor of shape [256]", kUp.without("SCB"));
  eight("row scales of another number", "up_proj': SCB: shape [255], expected [256]", kUp.shape("SCB", {255}));
  eight("row scales in float16", "up_proj': SCB: type F16, expected F32", [](ModelFiles* m) {
    kUp.tensor("SCB", [](Tensor* t) { t->bytes.resize(512); })(m);
    kUp.dtype("SCB", "F16")(m);
  });
  eight("row scale NaN", "up_proj': SCB: element 3 is not a finite number",
        kUp.bytes("SCB", 12, std::string("\0\0\xc0\x7f", 4)));
  eight("codes turned", "up_proj': weight: shape [128, 256], expected [256, 128]", kUp.shape("weight", {128, 256}));
  eight("codes of a GPU's order", "up_proj': weight_format: 2, expected 0 (rows)", kUp.bytes("weight_format", 0, "\2"),
        unsupported);
}

}  // namespace hostile
