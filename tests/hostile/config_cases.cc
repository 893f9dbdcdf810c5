// Rows CF: config.json and descriptions of architectures.
#include "hostile/place.h"

namespace hostile {
namespace {

Edit config_is(const std::string& text) {
  return [text](ModelFiles* m) { m->files["config.json"] = text; };
}
Edit in_config(const std::string& from, const std::string& to) {
  return [from, to](ModelFiles* m) { m->replace("config.json", from, to); };
}
Edit key_is(const char* key, const Json& value) {
  return [key, value](ModelFiles* m) { m->config([&](Json* config) { (*config)[key] = value; }); };
}
Edit rope_is(const Json& value) { return key_is("rope_parameters", value); }

}  // namespace

void add_config_cases(Cases* cases) {
  const auto on = [&](const char* golden, const char* id, const char* words, const Edit& edit, qz_status status,
                      bool strict = false) {
    cases->push_back({id, status, words, [golden, edit, strict](Place* place) {
                        ModelFiles files = ModelFiles::golden(golden);
                        edit(&files);
                        qz_model_options options = QZ_INIT(qz_model_options);
                        options.strict = strict;
                        return place->open(files, &options);
                      }});
  };
  const auto cf = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    on("models/llama-tied", id, words, edit, status);
  };
  const auto strict = [&](const char* id, const char* words, const char* golden, const Edit& edit) {
    on(golden, id, words, edit, QZ_STATUS_BAD_FILE, true);
  };

  cf("CF01 empty configuration",
     "config.json: not valid JSON at byte 1: syntax error while parsing value - unexpected end", config_is(""));
  cf("CF01 not JSON", "config.json: not valid JSON at byte 1: syntax error while parsing value - invalid literal",
     config_is("hidden_size: 64"));
  cf("CF01 trailing comma", "expected string literal", in_config("\"vocab_size\": 256", "\"vocab_size\": 256,"));
  cf("CF01 comment", "config.json: not valid JSON at byte 3:", config_is("{ // llama\n}"));
  cf("CF01 byte-order mark", "config.json: starts with a byte-order mark",
     [](ModelFiles* m) { m->files["config.json"].insert(0, "\xEF\xBB\xBF"); });
  cf("CF01 NaN literal", "config.json: not valid JSON at byte 257:", in_config("0.02", "NaN"));
  cf("CF01 Infinity literal", "config.json: not valid JSON at byte 102:", in_config("0.0", "Infinity"));
  cf("CF01 configuration cut in half",
     "config.json: not valid JSON at byte 301:", [](ModelFiles* m) { m->files["config.json"].resize(300); });
  cf("CF01 second document", "config.json: not valid JSON at byte 713: syntax error",
     [](ModelFiles* m) { m->files["config.json"] += "{}"; });
  cf("CF01 not UTF-8", "config.json: not valid JSON at byte 209:", in_config("silu", "sil\xfc"));
  cf("CF01 number that no double holds", "number overflow parsing '1e999'", in_config("1e-06", "1e999"));
  cf("CF01 integer that does not fit 64 bits", "config.json: integer at byte",
     in_config("256", "99999999999999999999"));
  cf("CF01 a list", "config.json: expected an object, found array", config_is("[]"));
  cf("CF01 nested without end", "config.json: nested deeper than 64 levels",
     in_config("\"silu\"", std::string(5000, '[') + std::string(5000, ']')));
  cf("CF01 NUL byte", "config.json: not valid JSON at byte 713: NUL byte",
     [](ModelFiles* m) { m->files["config.json"] += std::string(1, '\0'); });
  cf("CF12 duplicate key", "key 'hidden_size' occurs twice in one object, at bytes",
     in_config("\"hidden_size\": 64,", "\"hidden_size\": 64, \"hidden_size\": 64,"));
  cases->push_back({"CF13 configuration above a lowered limit", QZ_STATUS_BAD_FILE,
                    "config.json: 712 bytes; at most 100 are allowed", [](Place* place) {
                      place->set("limits.config_bytes", "100");
                      return place->open(ModelFiles::golden("models/llama-tied"));
                    }});

  cf("CF02 one key missing", "missing key intermediate_size",
     [](ModelFiles* m) { m->config([](Json* c) { c->erase("intermediate_size"); }); });
  cf("CF02 all keys missing",
     "missing keys hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, vocab_size",
     config_is("{\"model_type\": \"llama\"}"));
  cf("CF02 key is null", "missing key num_hidden_layers", key_is("num_hidden_layers", nullptr));
  cf("CF03 integer in quotes", "hidden_size must be an integer, found \"64\"", key_is("hidden_size", "64"));
  cf("CF03 fraction for an integer", "hidden_size must be an integer, found 64.5", key_is("hidden_size", 64.5));
  cf("CF03 true for an integer", "num_attention_heads must be an integer, found true",
     key_is("num_attention_heads", true));
  cf("CF03 list for an integer", "vocab_size must be an integer, found a list", key_is("vocab_size", {256}));
  cf("CF03 object for an integer", "head_dim must be an integer, found an object", key_is("head_dim", Json::object()));
  cf("CF03 text for a number", "rms_norm_eps must be a number, found \"small\"", key_is("rms_norm_eps", "small"));
  cf("CF03 text for true", "tie_word_embeddings must be true or false, found \"yes\"",
     key_is("tie_word_embeddings", "yes"));
  cf("CF03 number for text", "hidden_act must be a string, found 3", key_is("hidden_act", 3));
  cf("CF03 number for a type", "dtype must be a string, found 16", key_is("dtype", 16));
  cf("CF04 no layers", "num_hidden_layers must be from 1 to 4096 (limits.layers), found 0",
     key_is("num_hidden_layers", 0));
  cf("CF04 negative layers", "num_hidden_layers must be from 1 to 4096 (limits.layers), found -1",
     key_is("num_hidden_layers", -1));
  cf("CF04 10^18 layers", "limits.layers), found 1000000000000000000",
     key_is("num_hidden_layers", 1000000000000000000));
  cf("CF04 2^64 - 1 wide", "hidden_size must be from 1 to 1048576 (limits.hidden), found 18446744073709551615",
     key_is("hidden_size", ~uint64_t{0}));
  cf("CF04 width -2^63", "hidden_size must be from 1 to 1048576 (limits.hidden), found -9223372036854775808",
     key_is("hidden_size", INT64_MIN));
  cf("CF04 2^31 heads", "num_attention_heads must be from 1 to 65536 (limits.heads), found 2147483648",
     key_is("num_attention_heads", int64_t{1} << 31));
  cf("CF04 no key-value heads", "num_key_value_heads must be from 1 to 65536 (limits.heads), found 0",
     key_is("num_key_value_heads", 0));
  cf("CF04 2^32 tokens", "vocab_size must be from 1 to 16777216 (limits.vocab), found 4294967296",
     key_is("vocab_size", int64_t{1} << 32));
  cf("CF04 no positions", "max_position_embeddings must be from 1 to 1073741824, found 0",
     key_is("max_position_embeddings", 0));
  cf("CF04 2^31 positions", "max_position_embeddings must be from 1 to 1073741824, found 2147483648",
     key_is("max_position_embeddings", int64_t{1} << 31));
  cf("CF04 head_dim as a float of 1e300", "head_dim must be an integer, found 1e+300", key_is("head_dim", 1e300));
  cf("CF04 65536 heads of 2^20",
     "num_attention_heads 65536 times head_dim 1048576 is more than 1048576 (limits.hidden)", [](ModelFiles* m) {
       m->config([](Json* c) {
         (*c)["head_dim"] = 1 << 20;
         (*c)["num_attention_heads"] = (*c)["num_key_value_heads"] = 1 << 16;
       });
     });
  cf("CF04 negative epsilon", "rms_norm_eps must be from 0 to 1, found -1", key_is("rms_norm_eps", -1.0));
  cases->push_back({"CF04 more layers than a lowered limit", QZ_STATUS_BAD_FILE,
                    "num_hidden_layers must be from 1 to 1 (limits.layers), found 2", [](Place* place) {
                      place->set("limits.layers", "1");
                      return place->open(ModelFiles::golden("models/llama-tied"));
                    }});
  cf("CF05 key-value heads do not divide the heads", "num_attention_heads 4 is not a multiple of num_key_value_heads 3",
     key_is("num_key_value_heads", 3));
  cf("CF05 heads do not divide the width",
     "hidden_size 64 is not a multiple of num_attention_heads 5 and there is no head_dim", [](ModelFiles* m) {
       m->config([](Json* c) {
         c->erase("head_dim");
         (*c)["num_attention_heads"] = (*c)["num_key_value_heads"] = 5;
       });
     });
  cf("CF05 odd head_dim", "rotary positions need an even number of dimensions a head, found 15",
     key_is("head_dim", 15));
  cf("CF05 another width than the tensors", "'model.embed_tokens.weight' must have shape [256, 32] by config.json",
     key_is("hidden_size", 32));
  cf("CF05 another intermediate size than the tensors", "must have shape [128, 64] by config.json, found [160, 64]",
     key_is("intermediate_size", 128));
  cf("CF05 another head_dim than the tensors", "must have shape [32, 64] by config.json, found [64, 64]",
     key_is("head_dim", 8));
  cf("CF05 more layers than tensors", "9 missing tensors: model.layers.2.", key_is("num_hidden_layers", 3));
  cf("CF05 4096 layers", "36846 missing tensors", key_is("num_hidden_layers", 4096));
  cf("CF05 head announced but not there", "1 missing tensor: lm_head.weight", key_is("tie_word_embeddings", false));
  strict("CF05 strict: vocab_size is not the embedding's",
         "vocab_size is 255 but 'model.embed_tokens.weight' has 256 rows", "models/llama-tied",
         key_is("vocab_size", 255));
  strict("CF05 strict: tied although there is a head", "tie_word_embeddings is true, 'lm_head.weight' is ignored",
         "models/qwen2-bias-2shards", key_is("tie_word_embeddings", true));
  cf("CF07 unknown class", "architecture 'GrokForCausalLM' is not known", key_is("architectures", {"GrokForCausalLM"}),
     QZ_STATUS_UNSUPPORTED);
  cf(
      "CF07 unknown model_type", "architecture 'mamba' is not known",
      [](ModelFiles* m) {
        m->config([](Json* c) {
          c->erase("architectures");
          (*c)["model_type"] = "mamba";
        });
      },
      QZ_STATUS_UNSUPPORTED);
  cf("CF07 numbers for classes", "architectures must be a list of names", key_is("architectures", {1, 2}));
  cf("CF07 neither class nor type", "missing keys architectures, model_type", [](ModelFiles* m) {
    m->config([](Json* c) {
      c->erase("architectures");
      c->erase("model_type");
    });
  });
  cf("CF07 name of a megabyte", "architecture 'AAAAAAAAAA", key_is("architectures", {std::string(1 << 20, 'A')}),
     QZ_STATUS_UNSUPPORTED);
  cf("CF14 unknown activation", "hidden_act \"mish\" is not known", key_is("hidden_act", "mish"),
     QZ_STATUS_UNSUPPORTED);
  cf("CF14 unknown type", "dtype \"float8\" is not float32, float16 or bfloat16", key_is("dtype", "float8"),
     QZ_STATUS_UNSUPPORTED);
  cf("CF15 rope_parameters is a list", "rope_parameters must be an object, found a list", rope_is(Json::array()));
  cf("CF15 unknown rope_type", "rope_type \"spiral\" is not known", rope_is({{"rope_type", "spiral"}}),
     QZ_STATUS_UNSUPPORTED);
  cf("CF15 rope_theta 0", "rope_theta must be from 2 to 1e+30, found 0", rope_is({{"rope_theta", 0}}));
  cf("CF15 linear without factor", "rope_parameters: missing key factor", rope_is({{"rope_type", "linear"}}));
  cf("CF15 llama3 without its factors", "missing keys low_freq_factor, high_freq_factor",
     rope_is({{"rope_type", "llama3"}, {"factor", 8.0}}));
  cf("CF15 llama3 with factors the wrong way round", "high_freq_factor must be greater than low_freq_factor",
     rope_is({{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 4.0}, {"high_freq_factor", 1.0}}));
  cf("CF15 negative factor", "factor must be from 1e-06 to 1e+06, found -8.0",
     rope_is({{"rope_type", "linear"}, {"factor", -8.0}}));
  cf("CF15 partial_rotary_factor 2", "partial_rotary_factor must be from 0 to 1, found 2",
     rope_is({{"partial_rotary_factor", 2}}));
  const Json window = {{"use_sliding_window", true}, {"sliding_window", 16}};
  const auto layers = [window](const Json& types) {
    return [window, types](ModelFiles* m) {
      m->config([&](Json* c) {
        c->update(window);
        (*c)["layer_types"] = types;
      });
    };
  };
  on("models/qwen2-bias-2shards", "CF16 one layer type for two layers",
     "layer_types must be a list of 2 names, found 1", layers({"full_attention"}), QZ_STATUS_BAD_FILE);
  on("models/qwen2-bias-2shards", "CF16 layer_types is text", "layer_types must be a list of 2 names, found \"full\"",
     layers("full"), QZ_STATUS_BAD_FILE);
  on("models/qwen2-bias-2shards", "CF16 unknown layer type", "layer_types[1] is \"linear_attention\"",
     layers({"full_attention", "linear_attention"}), QZ_STATUS_UNSUPPORTED);
  on(
      "models/qwen2-bias-2shards", "CF16 negative window", "sliding_window must be from 0 to 1073741824, found -5",
      [](ModelFiles* m) {
        m->config([](Json* c) { c->update({{"use_sliding_window", true}, {"sliding_window", -5}}); });
      },
      QZ_STATUS_BAD_FILE);

  const auto arch = [&](const char* id, const char* words, const char* json,
                        qz_status status = QZ_STATUS_INVALID_ARGUMENT) {
    cases->push_back({id, status, words, [json](Place* place) {
                        qz_model_options options = QZ_INIT(qz_model_options);
                        options.arch_json = json;
                        return place->open(ModelFiles::golden("models/llama-tied"), &options);
                      }});
  };
  arch("CF17 description is not JSON", "arch_json: not valid JSON", "{base: llama}", QZ_STATUS_BAD_FILE);
  arch("CF17 description is a list", "arch_json: must be an object", "[]");
  arch("CF17 unknown base", "arch_json: 'base' must be one of bert", R"({"base": "gpt"})");
  arch("CF17 unknown key of a description", "arch_json: unknown key 'layers'", R"({"base": "llama", "layers": "x"})");
  arch("CF17 layer without a number", "arch_json: 'layer' must contain {} once, found \"blocks\"",
       R"({"base": "llama", "layer": "blocks"})");
  arch("CF17 unknown norm", "arch_json: 'norm' must be \"rms\" or \"layer\"", R"({"base": "llama", "norm": "batch"})");
  arch("CF17 name is a number", "arch_json: 'q' must be a string", R"({"base": "llama", "q": 7})");
  arch("CF17 q without a name", "arch_json: 'q' must not be empty", R"({"base": "llama", "q": ""})");
  arch("CF17 negative position_offset", "arch_json: 'position_offset' must be an integer from 0 to 2^24",
       R"({"base": "llama", "position_offset": -2})");
  arch("CF17 keys is a list", "arch_json: 'keys' must be an object", R"({"base": "llama", "keys": []})");
  arch("CF17 defaults are a list", "arch_json: 'defaults' must be an object", R"({"base": "llama", "defaults": []})");
  arch("CF17 a condition without a value", "arch_json: 'only' must be key=value pairs, found \"is_decoder\"",
       R"({"base": "llama", "only": "is_decoder"})");
  arch("CF17 tensors under other names", "18 missing tensors: h.0.", R"({"base": "llama", "layer": "h.{}"})",
       QZ_STATUS_BAD_FILE);
}

}  // namespace hostile
