// Keys: ggml's docs/gguf.md, "Tokenizer"; types of tokens: llama.h, llama_token_type.
#include "run/gguf_tokenizer.h"

#include <map>
#include <set>

#include "base/json.h"
#include "io/repository.h"

namespace qz {
namespace {

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// llama.cpp knows how a tokenizer splits text by a name, not by its expression: those of tokenizer.json that are known.
struct Splitter {
  const char* expression;
  const char* name;
};
constexpr Splitter kSplitters[] = {
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "llama-bpe"},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "qwen2"},
};

class Tokenizer {
 public:
  Tokenizer(const Model& model, std::string path, Json json)
      : model_(model), path_(std::move(path)), json_(std::move(json)) {}

  Status add(const Json& settings, GgufBuilder* out) {
    const Json& m = member(json_, "model");
    if (!m.is_object() || !member(m, "vocab").is_object() || text(m, "type", "BPE") != "BPE") {
      model_.context().log(LogLevel::kWarn, "%s: is no BPE tokenizer, llama.cpp will take token ids only",
                           path_.c_str());
      out->add("tokenizer.ggml.model", std::string_view("none"));
      return {};
    }
    QZ_TRY(tokens(m));
    byte_level_ =
        mentions(member(json_, "pre_tokenizer"), "ByteLevel") || mentions(member(json_, "decoder"), "ByteLevel");
    out->add("tokenizer.ggml.model", std::string_view(byte_level_ ? "gpt2" : "llama"));
    if (byte_level_) out->add("tokenizer.ggml.pre", splitter());
    out->add("tokenizer.ggml.tokens", tokens_);
    if (!byte_level_) {
      QZ_TRY(scores(m, out));
      out->add("tokenizer.ggml.add_space_prefix", mentions(json_, "Prepend") || mentions(json_, "Metaspace"));
    }
    out->add("tokenizer.ggml.token_type", types_);
    if (byte_level_) QZ_TRY(merges(m, out));
    special(settings, out);
    return {};
  }

 private:
  static const Json& member(const Json& object, const char* key) {
    static const Json none;
    if (!object.is_object()) return none;
    const auto it = object.find(key);
    return it == object.end() ? none : *it;
  }
  static std::string text(const Json& object, const char* key, const char* absent) {
    const Json& v = member(object, key);
    return v.is_string() ? v.get<std::string>() : absent;
  }
  // Whether a part of the tokenizer, or a part of that, is of a type.
  static bool mentions(const Json& part, const char* type) {
    if (part.is_array()) {
      for (const Json& p : part)
        if (mentions(p, type)) return true;
    }
    if (!part.is_object()) return false;
    if (text(part, "type", "") == type) return true;
    for (const char* inner : {"normalizer", "pre_tokenizer", "decoder", "normalizers", "pretokenizers", "decoders"})
      if (mentions(member(part, inner), type)) return true;
    return false;
  }

  Status set(const Json& id, const std::string& token, int32_t type) {
    const bool good = id.is_number_unsigned() && id.get<uint64_t>() < tokens_.size();
    if (!good) {
      // A vocabulary may name more tokens than the embedding has rows: nobody can use them.
      if (id.is_number_unsigned()) return {};
      return error(Code::kBadFile, "%s: token '%.60s' has the id %s, expected a number", path_.c_str(), token.c_str(),
                   id.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60).c_str());
    }
    const size_t i = id.get<size_t>();
    tokens_[i] = token, types_[i] = type;
    return {};
  }

  Status tokens(const Json& m) {
    const size_t n = static_cast<size_t>(model_.config().vocab);
    types_.assign(n, kUnused);
    for (size_t i = 0; i < n; ++i) tokens_.push_back("[PAD" + std::to_string(i) + "]");
    const std::string unknown = text(m, "unk_token", "");
    for (const auto& [token, id] : member(m, "vocab").items()) {
      const bool byte = token.size() == 6 && token.compare(0, 3, "<0x") == 0 && token[5] == '>';
      QZ_TRY(set(id, token, byte ? kByte : !unknown.empty() && token == unknown ? kUnknown : kNormal));
    }
    const Json& added = member(json_, "added_tokens");
    if (!added.is_null() && !added.is_array())
      return error(Code::kBadFile, "%s: added_tokens must be a list", path_.c_str());
    for (const Json& t : added) {
      const std::string content = text(t, "content", "");
      const Json& special = member(t, "special");
      const bool control = special.is_boolean() && special.get<bool>();
      QZ_TRY(set(member(t, "id"), content,
                 content == unknown && !unknown.empty() ? kUnknown
                 : control                              ? kControl
                                                        : kUserDefined));
    }
    return {};
  }

  std::string_view splitter() const {
    const std::string all = member(json_, "pre_tokenizer").dump(-1, ' ', true, Json::error_handler_t::replace);
    for (const Splitter& s : kSplitters)
      if (all.find(Json(s.expression).dump(-1, ' ', true)) != std::string::npos) return s.name;
    if (all.find("\"Regex\"") == std::string::npos) return "gpt-2";  // ByteLevel's own expression
    model_.context().log(LogLevel::kWarn, "%s: splits text by an expression that llama.cpp may not know",
                         path_.c_str());
    return "default";
  }

  // "a b" or ["a", "b"].
  Result<std::pair<std::string, std::string>> merge(const Json& v) const {
    if (v.is_array() && v.size() == 2 && v[0].is_string() && v[1].is_string())
      return std::pair{v[0].get<std::string>(), v[1].get<std::string>()};
    if (v.is_string())
      if (const std::string s = v.get<std::string>(); s.find(' ', 1) != std::string::npos)
        return std::pair{s.substr(0, s.find(' ', 1)), s.substr(s.find(' ', 1) + 1)};
    return error(Code::kBadFile, "%s: merge %s is no pair of tokens", path_.c_str(),
                 v.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60).c_str());
  }

  Status merges(const Json& m, GgufBuilder* out) const {
    std::vector<std::string> lines;
    if (!member(m, "merges").is_array()) return error(Code::kBadFile, "%s: merges must be a list", path_.c_str());
    for (const Json& v : member(m, "merges")) {
      QZ_ASSIGN(const auto pair, merge(v));
      lines.push_back(pair.first + " " + pair.second);
    }
    out->add("tokenizer.ggml.merges", lines);
    return {};
  }

  // SentencePiece joins the pair whose token has the highest score: earlier merges come first.
  Status scores(const Json& m, GgufBuilder* out) const {
    std::map<std::string, float> rank;
    if (!member(m, "merges").is_array()) return error(Code::kBadFile, "%s: merges must be a list", path_.c_str());
    float next = 0;
    for (const Json& v : member(m, "merges")) {
      QZ_ASSIGN(const auto pair, merge(v));
      rank.emplace(pair.first + pair.second, next);
      next -= 1;
    }
    std::vector<float> values;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const auto it = rank.find(tokens_[i]);
      values.push_back(types_[i] != kNormal ? 0 : it != rank.end() ? it->second : next - static_cast<float>(i));
    }
    out->add("tokenizer.ggml.scores", values);
    return {};
  }

  void special(const Json& settings, GgufBuilder* out) const {
    std::map<std::string_view, uint32_t> ids;
    for (size_t i = 0; i < tokens_.size(); ++i) ids.emplace(tokens_[i], static_cast<uint32_t>(i));
    const Json& config = model_.checkpoint()->config();
    for (const auto& [name, key] : {std::pair{"bos", "bos"}, {"eos", "eos"}, {"unk", "unknown"}, {"pad", "padding"}}) {
      const Json& token = member(settings, (std::string(name) + "_token").c_str());
      const std::string content = token.is_string() ? token.get<std::string>() : text(token, "content", "");
      const Json& id = member(config, (std::string(name) + "_token_id").c_str());
      const std::string to = "tokenizer.ggml." + std::string(key) + "_token_id";
      if (const auto it = ids.find(content); !content.empty() && it != ids.end())
        out->add(to, it->second);
      else if (id.is_number_unsigned() && id.get<uint64_t>() < tokens_.size())
        out->add(to, id.get<uint32_t>());
    }
    // What a tokenizer puts around a text is in its template; the older switches win.
    for (const auto& [flag, id] : {std::pair{"add_bos_token", "bos"}, {"add_eos_token", "eos"}}) {
      const Json& v = member(settings, flag);
      if (v.is_boolean())
        out->add("tokenizer.ggml." + std::string(flag), v.get<bool>());
      else if (byte_level_)
        out->add("tokenizer.ggml." + std::string(flag), std::string_view(id) == "bos" && begins_with_special());
    }
    if (const Json& chat = member(settings, "chat_template"); chat.is_string())
      out->add("tokenizer.chat_template", std::string_view(chat.get_ref<const std::string&>()));
  }

  bool begins_with_special() const {
    const Json& single = member(member(json_, "post_processor"), "single");
    return single.is_array() && !single.empty() && single[0].is_object() && single[0].contains("SpecialToken");
  }

  const Model& model_;
  const std::string path_;
  const Json json_;
  bool byte_level_ = false;
  std::vector<std::string> tokens_;
  std::vector<int32_t> types_;
};

// Not by parse_json, which refuses integers above 64 bits: transformers writes 10^30 as model_max_length.
Result<Json> read_settings(const Model& model, const Repository& repository) {
  const char* const name = "tokenizer_config.json";
  if (!repository.has(name)) return Json();
  QZ_ASSIGN(const std::string text, repository.read_small(name, model.context().limits.config_bytes));
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return error(Code::kBadFile, "%s: is no JSON object", repository.path(name).c_str());
  return json;
}

}  // namespace

Status add_tokenizer(const Model& model, GgufBuilder* out) {
  const auto repository = Repository::open(model.checkpoint()->dir());
  if (!repository.ok() || !repository->has("tokenizer.json")) {
    model.context().log(LogLevel::kWarn, "%s: no tokenizer.json, llama.cpp will take token ids only",
                        model.checkpoint()->dir().c_str());
    out->add("tokenizer.ggml.model", std::string_view("none"));
    return {};
  }
  QZ_ASSIGN(const std::string text, repository->read_small("tokenizer.json", model.context().limits.index_bytes));
  QZ_ASSIGN(Json tokenizer, parse_json(text, repository->path("tokenizer.json")));
  QZ_ASSIGN(Json settings, read_settings(model, *repository));
  if (repository->has("chat_template.jinja") && !settings.contains("chat_template")) {
    QZ_ASSIGN(settings["chat_template"],
              repository->read_small("chat_template.jinja", model.context().limits.config_bytes));
  }
  return Tokenizer(model, repository->path("tokenizer.json"), std::move(tokenizer)).add(settings, out);
}

}  // namespace qz
