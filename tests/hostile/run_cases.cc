// Rows RN: weights that are not numbers, and runs, sessions and evaluations that cannot be.
#include <cmath>

#include "hostile/place.h"

namespace hostile {
namespace {

constexpr uint16_t kNan = 0x7E00, kInf = 0xFC00;  // F16
constexpr char kTied[] = "models/llama-tied";

Edit half_is(const char* tensor, size_t i, uint16_t bits) {
  return [=](ModelFiles* m) { m->tensor(tensor, [&](Tensor* t) { set_half(t, i, bits); }); };
}

ModelFiles edited(const char* golden, const Edit& edit) {
  ModelFiles files = ModelFiles::golden(golden);
  edit(&files);
  return files;
}

// A session of 8 positions on llama-tied.
std::function<Outcome(Place*)> session(const std::function<qz_status(qz_session*)>& call) {
  return [call](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    qz_session* created = nullptr;
    EXPECT_EQ(qz_session_create(model.get(), 8, &created), QZ_STATUS_OK);
    const Handle<qz_session> owner(created);
    return outcome(call(created));
  };
}

std::function<Outcome(Place*)> evaluation(int tokens, int32_t window, int32_t stride, const char* reference = nullptr) {
  return [=](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    const Handle<qz_model> other = reference
                                       ? place->good(edited(kTied,
                                                            [](ModelFiles* m) {
                                                              m->config([](Json* c) { (*c)["vocab_size"] = 128; });
                                                              m->tensor("model.embed_tokens.weight", [](Tensor* t) {
                                                                t->shape = {128, 64};
                                                                t->bytes.resize(128 * 64 * 2);
                                                              });
                                                            }))
                                       : Handle<qz_model>();
    const Handle<qz_calib> text = place->tokens(tokens);
    qz_eval_options options = QZ_INIT(qz_eval_options);
    options.window = window;
    options.stride = stride;
    qz_eval result = QZ_INIT(qz_eval);
    return outcome(qz_eval_perplexity(model.get(), other.get(), text.get(), &options, &result));
  };
}

std::function<Outcome(Place*)> gptq_with(const std::function<void(qz_gptq_options*)>& edit) {
  return [edit](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    qz_gptq_options options = QZ_INIT(qz_gptq_options);
    edit(&options);
    qz_model* made = nullptr;
    const Outcome result =
        outcome(qz_gptq_run(model.get(), place->tokens(64).get(), nullptr, &options, nullptr, &made));
    qz_model_free(made);
    return result;
  };
}

std::function<Outcome(Place*)> scheme_with(const std::function<void(qz_scheme*)>& edit) {
  return [edit](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    qz_scheme scheme = QZ_INIT(qz_scheme);
    edit(&scheme);
    qz_model* made = nullptr;
    const Outcome result = outcome(qz_rtn_run(model.get(), &scheme, nullptr, &made));
    qz_model_free(made);
    return result;
  };
}

}  // namespace

void add_run_cases(Cases* cases) {
  const auto add = [&](const char* id, qz_status status, const char* words, std::function<Outcome(Place*)> run) {
    cases->push_back({id, status, words, std::move(run)});
  };
  const qz_status bad = QZ_STATUS_BAD_FILE, invalid = QZ_STATUS_INVALID_ARGUMENT;
  add("RN W01 NaN in a linear layer, rounding", bad,
      "q_proj.weight' has 1 NaN or infinite values of 4096, the first at index 77", [](Place* place) {
        return place->rtn(edited(kTied, half_is("model.layers.1.self_attn.q_proj.weight", 77, kNan)));
      });
  add("RN W01 infinity in a linear layer, calibrating", bad, "down_proj.weight' has 1 NaN or infinite values of 10240",
      [](Place* place) {
        const Handle<qz_model> model =
            place->good(edited(kTied, half_is("model.layers.1.mlp.down_proj.weight", 0, kInf)));
        return place->gptq(model.get(), place->tokens(200).get());
      });
  add("RN W01 NaN in a linear layer, running", bad, "up_proj.weight' has 1 NaN", [](Place* place) {
    return place->forward(edited(kTied, half_is("model.layers.0.mlp.up_proj.weight", 10239, kNan)));
  });
  add("RN W01 NaN in the embedding", bad, "'model.embed_tokens.weight' has 1 NaN",
      [](Place* place) { return place->forward(edited(kTied, half_is("model.embed_tokens.weight", 5, kNan))); });
  add("RN W01 infinity in a norm", bad, "'model.norm.weight': element 63 of 64 is infinite",
      [](Place* place) { return place->forward(edited(kTied, half_is("model.norm.weight", 63, kInf))); });
  add("RN W01 NaN in a norm", bad, "post_attention_layernorm.weight': element 0 of 64 is NaN", [](Place* place) {
    return place->forward(edited(kTied, half_is("model.layers.0.post_attention_layernorm.weight", 0, kNan)));
  });
  add("RN W01 NaN in a bias", bad, "q_proj.bias': element 1 of 128 is NaN", [](Place* place) {
    return place->forward(edited("quantized/qwen2-128-ct-w4a16-g128", [](ModelFiles* m) {
      m->tensor("model.layers.0.self_attn.q_proj.bias", [](Tensor* t) { set_half(t, 1, 0x7FC0); });  // BF16
    }));
  });
  add("RN already quantized", QZ_STATUS_UNSUPPORTED, "already quantized (compressed-tensors); start from the original",
      [](Place* place) { return place->rtn(ModelFiles::golden("quantized/qwen2-128-ct-w4a16-g128")); });
  add("RN opened from its configuration only", invalid, "the model was opened from its configuration only",
      [](Place* place) {
        ModelFiles::golden(kTied).write(place->model());
        qz_model_options options = QZ_INIT(qz_model_options);
        options.config_only = 1;
        qz_model* model = nullptr;
        EXPECT_EQ(qz_model_open(place->context(), place->model().c_str(), &options, &model), QZ_STATUS_OK);
        const Handle<qz_model> owner(model);
        return place->rtn(model, place->out());
      });
  add("RN saved without codes", invalid, "nothing in this model is quantized", [](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    qz_save_options options = QZ_INIT(qz_save_options);
    options.format = QZ_FORMAT_GPTQ;
    return outcome(qz_model_save(model.get(), place->out().c_str(), &options));
  });
  add("RN saved in a format that does not exist", invalid, "format 77 is not known", [](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    qz_save_options options = QZ_INIT(qz_save_options);
    options.format = 77;
    return outcome(qz_model_save(model.get(), place->out().c_str(), &options));
  });
  add("RN codes that the other format cannot hold", QZ_STATUS_UNSUPPORTED,
      "compressed-tensors cannot store this model: ", [](Place* place) {
        const Handle<qz_model> model = place->good("tests/data/goldens/quantized/qwen2-128-gptq-4bit-sym-g64-descact");
        qz_save_options options = QZ_INIT(qz_save_options);
        options.format = QZ_FORMAT_COMPRESSED;
        return outcome(qz_model_save(model.get(), place->out().c_str(), &options));
      });

  add("RN more tokens than positions", invalid, "9 tokens do not fit: 0 of 8 positions are used",
      session([](qz_session* s) {
        const int32_t ids[9] = {};
        return qz_session_logits(s, ids, 9, nullptr);
      }));
  add("RN no tokens", invalid, "n is 0", session([](qz_session* s) {
        const int32_t id = 0;
        return qz_session_logits(s, &id, 0, nullptr);
      }));
  add("RN token of the vocabulary's size in a session", invalid, "sequence 0, position 2: token id 256 is outside",
      session([](qz_session* s) {
        const int32_t ids[] = {1, 2, 256};
        return qz_session_logits(s, ids, 3, nullptr);
      }));
  add("RN token -2^31 in a session", invalid, "token id -2147483648", session([](qz_session* s) {
        const int32_t id = INT32_MIN;
        return qz_session_logits(s, &id, 1, nullptr);
      }));
  add("RN empty prompt", invalid, "the prompt is empty", session([](qz_session* s) {
        const int32_t id = 0;
        return qz_session_generate(s, &id, 0, nullptr, [](void*, int32_t) { return 0; }, nullptr);
      }));
  add("RN temperature is NaN", invalid, "max_tokens, top_k, temperature, repetition_penalty must not be negative",
      session([](qz_session* s) {
        qz_generate_options options = QZ_INIT(qz_generate_options);
        options.temperature = std::nan("");
        const int32_t id = 0;
        return qz_session_generate(s, &id, 1, &options, [](void*, int32_t) { return 0; }, nullptr);
      }));
  add("RN session of negative length", invalid, "a session needs max_seq >= 0", [](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    qz_session* session = nullptr;
    return outcome(qz_session_create(model.get(), -1, &session));
  });
  add("RN session beyond learned positions", invalid, "max_seq 65 is beyond the 64 learned positions",
      [](Place* place) {
        const Handle<qz_model> model = place->good("tests/data/goldens/models/opt-pre-ln");
        qz_session* session = nullptr;
        return outcome(qz_session_create(model.get(), 65, &session));
      });
  add("RN text of one token", invalid, "the text has no sequence of at least two tokens", evaluation(1, 0, 0));
  add("RN window longer than the text", invalid, "the longest sequence has 20 tokens, a window needs 32",
      evaluation(20, 32, 0));
  add("RN window longer than the model", invalid, "window 100 is longer than the 64 positions",
      evaluation(200, 100, 0));
  add("RN stride longer than the window", invalid, "found 16 and 17", evaluation(100, 16, 17));
  add("RN negative window", invalid, "found -4 and -4", evaluation(100, -4, 0));
  add("RN reference with another vocabulary", invalid,
      "the reference has a vocabulary of 128 tokens, the model one of 256", evaluation(40, 16, 0, "another"));

  add("RN 5 bits", invalid, "qz_rtn_run: scheme: bits 5, expected 2, 3, 4 or 8",
      scheme_with([](qz_scheme* s) { s->bits = 5; }));
  add("RN group of 12", invalid, "group 12, expected a multiple of 8",
      scheme_with([](qz_scheme* s) { s->group = 12; }));
  add("RN group of -2^31", invalid, "group -2147483648, expected",
      scheme_with([](qz_scheme* s) { s->group = INT32_MIN; }));
  add("RN scales of integers", invalid, "scale type 5 is not F16, BF16 or F32",
      scheme_with([](qz_scheme* s) { s->scale = QZ_DTYPE_I32; }));
  add("RN codes of an unknown kind", QZ_STATUS_UNSUPPORTED, "code 9 is not known",
      scheme_with([](qz_scheme* s) { s->code = 9; }));
  add("RN damp is NaN", invalid, "damp is nan", gptq_with([](qz_gptq_options* o) { o->damp = std::nan(""); }));
  add("RN damp is -1", invalid, "damp is -1", gptq_with([](qz_gptq_options* o) { o->damp = -1; }));
  add("RN drift of 10^300", invalid, "drift is 1e+300, above 4",
      gptq_with([](qz_gptq_options* o) { o->drift = 1e300; }));
  add("RN negative residual", invalid, "residual is -0.5", gptq_with([](qz_gptq_options* o) { o->residual = -0.5; }));
  add("RN block of 2^31 - 1", invalid, "block is 2147483647",
      gptq_with([](qz_gptq_options* o) { o->block = INT32_MAX; }));
  add("RN sweeps of 2^31 - 1", invalid, "sweeps is 2147483647",
      gptq_with([](qz_gptq_options* o) { o->sweeps = INT32_MAX; }));
  add("RN search is 2", invalid, "search is 2; 0 = default", gptq_with([](qz_gptq_options* o) { o->search = 2; }));
  add("RN unknown order", invalid, "order 4 is not known", gptq_with([](qz_gptq_options* o) { o->order = 4; }));
  add("RN options of a later version", QZ_STATUS_UNSUPPORTED, "qz_scheme: a field beyond the", [](Place* place) {
    const Handle<qz_model> model = place->good(std::string("tests/data/goldens/") + kTied);
    struct {
      qz_scheme scheme;
      int64_t later;
    } longer = {QZ_INIT(qz_scheme), 1};
    longer.scheme.struct_size = sizeof longer;
    qz_model* made = nullptr;
    return outcome(qz_rtn_run(model.get(), &longer.scheme, nullptr, &made));
  });
  add("RN options without a size", invalid, "qz_scheme: struct_size is 0; use QZ_INIT",
      scheme_with([](qz_scheme* s) { s->struct_size = 0; }));
  add("RN rounding columns that groups do not divide", QZ_STATUS_UNSUPPORTED, "groups of 32 do not divide 72 columns",
      [](Place* place) { return place->rtn(ModelFiles::golden("models/qwen2-bias-2shards")); });
}

}  // namespace hostile
