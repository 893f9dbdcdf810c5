// Rows ST: the header of a safetensors file, on the smallest golden (one file, tied head).
#include "hostile/place.h"

namespace hostile {
namespace {

// The first entries of the golden's header.
constexpr char kEmbed[] = R"("model.embed_tokens.weight":{"dtype":"F16","shape":[256,64],"data_offsets":[0,32768]})";
constexpr char kNorm[] =
    R"("model.layers.0.input_layernorm.weight":{"dtype":"F16","shape":[64],"data_offsets":[32768,32896]})";
constexpr char kLast[] = R"("model.norm.weight":{"dtype":"F16","shape":[64],"data_offsets":[221696,221824]})";

// An entry of the header in place of the norm's.
Edit norm_is(const std::string& entry) {
  return [entry](ModelFiles* m) { m->in_header(kNorm, "\"model.layers.0.input_layernorm.weight\":" + entry); };
}
Edit norm_has(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return norm_is(R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}");
}
Edit shape_is(const std::string& shape) { return norm_has("\"F16\"", shape, "[32768,32896]"); }
Edit offsets_are(const std::string& offsets) { return norm_has("\"F16\"", "[64]", offsets); }
Edit dtype_is(const std::string& dtype) { return norm_has(dtype, "[64]", "[32768,32896]"); }
Edit metadata_is(const std::string& value) {
  return [value](ModelFiles* m) { m->in_header(R"({"format":"pt"})", value); };
}
Edit name_is(const std::string& name) {
  return [name](ModelFiles* m) { m->in_header("model.embed_tokens.weight", name); };
}
Edit file_is(const std::string& bytes) {
  return [bytes](ModelFiles* m) { m->files[kSingle] = bytes; };
}
Edit length_is(uint64_t bytes) {
  return [bytes](ModelFiles* m) { m->header_length(bytes); };
}
Edit after_name(const std::string& text) {  // between a tensor's colon and its object
  return [text](ModelFiles* m) { m->in_header("\"model.norm.weight\":", "\"model.norm.weight\":" + text); };
}

}  // namespace

void add_safetensors_cases(Cases* cases) {
  const auto st = [&](const char* id, const char* words, const Edit& edit, qz_status status = QZ_STATUS_BAD_FILE) {
    cases->push_back({id, status, words, [edit](Place* place) {
                        ModelFiles files = ModelFiles::golden("models/llama-tied");
                        edit(&files);
                        return place->open(files);
                      }});
  };
  const auto limited = [&](const char* id, const char* words, const char* key, const char* value) {
    cases->push_back({id, QZ_STATUS_BAD_FILE, words, [key, value](Place* place) {
                        place->set(key, value);
                        return place->open(ModelFiles::golden("models/llama-tied"));
                      }});
  };

  st("ST01 empty file", "too small for safetensors: 0 bytes", file_is(""));
  st("ST01 file of seven bytes", "too small for safetensors: 7 bytes", file_is("1234567"));
  st("ST02 header of no bytes", "header length is 0; expected at least 2", length_is(0));
  st("ST02 header of one byte", "header length is 1; expected at least 2", length_is(1));
  st("ST02 header longer than the file", "header length is 9999999 but only 223872 bytes follow", length_is(9999999));
  st("ST02 header of 2^32 bytes", "header length is 4294967296; at most", length_is(uint64_t{1} << 32));
  st("ST02 header of 2^63 bytes", "header length is 9223372036854775808; at most", length_is(uint64_t{1} << 63));
  st("ST02 header of 2^64 - 1 bytes", "header length is 18446744073709551615; at most", length_is(~uint64_t{0}));
  st("ST02 header length cuts the JSON", "model.safetensors: not valid JSON at byte 101: ", length_is(100));
  limited("ST02 header above a lowered limit", "header length is 2048; at most 1000 bytes", "limits.header_bytes",
          "1000");
  st("ST03 name is not UTF-8", "model.safetensors: not valid JSON at byte 40: ", name_is("model.\xff.weight"));
  st("ST03 lone surrogate in a name", "surrogate U+D800..U+DBFF must be followed by U+DC00", name_is("a\\ud800b"));
  st("ST03 NUL escape in a name", "a tensor's name contains a NUL character", name_is("a\\u0000b"));
  st("ST03 NUL byte in the header", "model.safetensors: not valid JSON at byte 35: NUL byte",
     name_is(std::string("a\0b", 3)));
  st("ST03 raw newline in a name", "U+000A (LF) must be escaped", name_is("a\nb"));
  st("ST03 unknown escape in a name", "forbidden character after backslash", name_is("a\\qb"));
  st("ST04 header begins with a space", "begins with byte 0x20",
     [](ModelFiles* m) { m->header([](std::string* text) { text->insert(0, " "); }); });
  st("ST04 header begins with a byte-order mark", "begins with byte 0xef",
     [](ModelFiles* m) { m->header([](std::string* text) { text->insert(0, "\xEF\xBB\xBF"); }); });
  st("ST04 header is a list", "begins with byte 0x5b",
     [](ModelFiles* m) { m->header([](std::string* text) { *text = "[" + *text + "]"; }); });
  st("ST05 header padded with newlines", "byte 0x0a after the header's JSON",
     [](ModelFiles* m) { m->header([](std::string* text) { *text += "\n\n"; }); });
  st("ST05 second object after the header", "model.safetensors: not valid JSON at byte 2049: ", [](ModelFiles* m) {
    m->header([](std::string* text) { *text += "{}"; });
  });
  st("ST06 entry nested without end", "'model.layers.0.input_layernorm.weight': nested deeper than 3 levels",
     norm_is(R"({"extra":)" + std::string(10000, '[') + std::string(10000, ']') + "}"));
  st("ST07 duplicate tensor name", "occurs twice, at bytes",
     [](ModelFiles* m) { m->in_header(kLast, std::string(kLast) + "," + kNorm); });
  st("ST07 duplicate dtype in an entry", "dtype: the field occurs twice",
     norm_is(R"({"dtype":"F16","dtype":"F16","shape":[64],"data_offsets":[32768,32896]})"));
  st("ST07 duplicate shape in an entry", "shape: the field occurs twice",
     norm_is(R"({"dtype":"F16","shape":[64],"shape":[64],"data_offsets":[32768,32896]})"));
  st("ST07 duplicate __metadata__", "__metadata__ occurs twice",
     [](ModelFiles* m) { m->in_header(kLast, std::string(kLast) + R"(,"__metadata__":{})"); });
  st("ST07 duplicate key in __metadata__", "key 'format': the key occurs twice",
     metadata_is(R"({"format":"pt","format":"pt"})"));
  st("ST08 entry without dtype", "dtype is missing (at byte",
     norm_is(R"({"shape":[64],"data_offsets":[32768,32896]})"));
  st("ST08 entry without shape", "shape is missing (at byte",
     norm_is(R"({"dtype":"F16","data_offsets":[32768,32896]})"));
  st("ST08 entry without data_offsets", "data_offsets is missing (at byte", norm_is(R"({"dtype":"F16","shape":[64]})"));
  st("ST08 entry is a number", "expected a tensor's object, found a number", norm_is("5"));
  st("ST08 entry is null", "expected a tensor's object, found null", norm_is("null"));
  st("ST08 entry is a list", "expected a tensor's object, found an array", norm_is("[]"));
  st("ST08 a hundred unknown fields", "unknown fields", norm_is([] {
       std::string text = "{";
       for (int i = 0; i < 100; ++i) text += "\"x" + std::to_string(i) + "\":1,";
       return text + R"("dtype":"F16","shape":[64],"data_offsets":[32768,32896]})";
     }()));
  st("ST09 __metadata__ holds a number", "key 'format': expected a string, found a number",
     metadata_is(R"({"format":1})"));
  st("ST09 __metadata__ holds an object", "key 'format': expected a string, found an object",
     metadata_is(R"({"format":{}})"));
  st("ST09 __metadata__ is a string", "__metadata__: expected a tensor's object, found a string",
     [](ModelFiles* m) { m->in_header(R"({"format":"pt"})", R"("pt")"); });
  st("ST10 negative dimension", "shape: expected an integer from 0 to 2^48, found -64", shape_is("[-64]"));
  st("ST10 fractional dimension", "2^48, found 64.5", shape_is("[64.5]"));
  st("ST10 dimension with an exponent", "found 1e3", shape_is("[1e3]"));
  st("ST10 dimension with a leading zero", "unexpected number literal; expected ']'", shape_is("[064]"));
  st("ST10 dimension of 2^53 + 1", "found 9007199254740993", shape_is("[9007199254740993]"));
  st("ST10 dimension above 2^64", "found 36893488147419103232", shape_is("[36893488147419103232]"));
  st("ST10 dimension is a string", "shape: expected an integer from 0 to 2^48, found a string", shape_is("[\"64\"]"));
  st("ST10 dimension is a list", "shape: nested deeper than 3 levels", shape_is("[[64]]"));
  st("ST10 negative offset", "data_offsets: expected an integer from 0 to 2^48, found -1", offsets_are("[-1,127]"));
  st("ST10 offset of 2^64 - 1", "data_offsets: expected an integer from 0 to 2^48, found 18446744073709551615",
     offsets_are("[32768,18446744073709551615]"));
  st("ST10 shape is a number", "shape: expected an array of integers, found a number", shape_is("64"));
  st("ST11 elements of the shape overflow 64 bits",
     "'model.layers.0.input_layernorm.weight': its shape has more than 2^48 elements",
     shape_is("[281474976710656,65536]"));
  st("ST11 shape of eight huge dimensions", "'model.norm.weight': its shape has more than 2^48 elements",
     [](ModelFiles* m) {
       m->in_header(R"("shape":[64],"data_offsets":[221696,221824])",
                    R"("shape":[65536,65536,65536,65536,65536,65536,65536,65536],"data_offsets":[221696,221824])");
     });
  st("ST12 zero elements but bytes", "shape and dtype need 0 bytes but data_offsets span 128",
     shape_is("[0,281474976710656]"));
  st("ST13 more bytes than elements", "shape and dtype need 126 bytes but data_offsets span 128", shape_is("[63]"));
  st("ST13 offsets end before they begin", "data_offsets end at 32768 before they begin at 32896",
     offsets_are("[32896,32768]"));
  st("ST14 tensors overlap", "begins at byte 32704 of the data section; expected 32768 (tensors overlap)",
     offsets_are("[32704,32832]"));
  st("ST14 hole between tensors", "begins at byte 32896 of the data section; expected 32768 (there is a hole",
     [](ModelFiles* m) { m->in_header(kNorm, R"("x":{"dtype":"F16","shape":[0],"data_offsets":[32768,32768]})"); });
  st("ST14 first tensor does not begin at 0", "begins at byte 32768 of the data section; expected 0 (there is a hole",
     [](ModelFiles* m) { m->in_header(std::string(kEmbed) + ",", ""); });
  st("ST14 two tensors on the same bytes", "'model.other' begins at byte 221696 of the data section; expected 221824",
     [](ModelFiles* m) {
       m->in_header(
           kLast, std::string(kLast) + R"(,"model.other":{"dtype":"F16","shape":[64],"data_offsets":[221696,221824]})");
     });
  st("ST15 dtype of the future where weights are needed", "is F12_E3M8, expected F32, F16 or BF16",
     dtype_is("\"F12_E3M8\""), QZ_STATUS_UNSUPPORTED);
  st("ST15 integers where weights are needed", "is I16, expected F32, F16 or BF16", dtype_is("\"I16\""),
     QZ_STATUS_UNSUPPORTED);
  st("ST15 dtype is empty", "input_layernorm.weight', dtype: not a dtype's name", dtype_is("\"\""));
  st("ST15 dtype of a thousand letters", "'model.norm.weight', dtype: not a dtype's name", [](ModelFiles* m) {
    m->in_header(kLast, R"("model.norm.weight":{"dtype":")" + std::string(1000, 'F') +
                            R"(","shape":[64],"data_offsets":[221696,221824]})");
  });
  st("ST15 dtype is a number", "dtype: expected a string, found a number", dtype_is("16"));
  st("ST16 four-bit elements that do not fill a byte", "3 elements of F4 do not fill whole bytes",
     norm_has("\"F4\"", "[3]", "[32768,32896]"));
  st("ST17 data cut short", "ends at byte 221824 of the data section, which has 221724 bytes (incomplete download?)",
     [](ModelFiles* m) { m->files[kSingle].resize(m->files[kSingle].size() - 100); });
  st("ST17 file cut inside the header", "header length is 2048 but only 992 bytes follow",
     [](ModelFiles* m) { m->files[kSingle].resize(1000); });
  st("ST17 file cut after the header", "which has 0 bytes (incomplete download?)",
     [](ModelFiles* m) { m->files[kSingle].resize(8 + 2048); });
  st("ST18 bytes after the last tensor", "5 bytes follow the last tensor",
     [](ModelFiles* m) { m->files[kSingle] += "PK\3\4x"; });
  st("ST27 three data_offsets", "data_offsets: expected two numbers, found more", offsets_are("[32768,32896,32896]"));
  st("ST27 one data_offset", "data_offsets: expected two numbers, found 1", offsets_are("[32768]"));
  st("ST27 nine dimensions", "more than 8 dimensions", shape_is("[1,1,1,1,1,1,1,1,64]"));
  st("ST27 name of 5000 bytes", "a tensor's name has 5000 bytes; at most 4096", name_is(std::string(5000, 'n')));
  st("ST27 header without tensors", "20 missing tensors: model.embed_tokens.weight",
     file_is(qz::safetensors("{}", "")));
  st("ST27 colon missing", "expected ':'",
     [](ModelFiles* m) { m->in_header("\"model.norm.weight\":", "\"model.norm.weight\""); });
  st("ST27 unquoted key",
     "not valid JSON at byte 1967:", [](ModelFiles* m) { m->in_header("\"model.norm.weight\"", "norm"); });
  st("ST27 comment in the header", "model.safetensors: not valid JSON at byte 1986: ", after_name("/* here */"));
  limited("ST27 more tensors than a lowered limit", "more than 4 tensors", "limits.tensors_per_file", "4");
  limited("ST27 more dimensions than a lowered limit", "more than 1 dimensions", "limits.dims", "1");
  limited("ST27 longer names than a lowered limit", "a tensor's name has 25 bytes; at most 10", "limits.name_bytes",
          "10");
}

}  // namespace hostile
