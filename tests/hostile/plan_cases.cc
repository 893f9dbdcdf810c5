// Rows PL: plans in JSON, limits and settings.
#include "hostile/place.h"

namespace hostile {

void add_plan_cases(Cases* cases) {
  const auto pl = [&](const char* id, const char* words, const std::string& json,
                      qz_status status = QZ_STATUS_INVALID_ARGUMENT, const char* golden = "models/llama-tied") {
    cases->push_back({id, status, words, [json, golden](Place* place) { return place->plan(json, golden); }});
  };
  const auto rule = [](const std::string& fields) { return "{\"rules\": [{\"glob\": \"*\", " + fields + "}]}"; };
  const auto lever = [](const std::string& field) {
    return "{\"rules\": [{\"glob\": \"*\", \"method\": \"gptq\", \"gptq\": {" + field + "}}]}";
  };
  const qz_status bad = QZ_STATUS_BAD_FILE, unsupported = QZ_STATUS_UNSUPPORTED;
  pl("PL01 empty plan", "plan: not valid JSON at byte 1:", "", bad);
  pl("PL01 plan cut", "plan: not valid JSON at byte 12", "{\"rules\": [", bad);
  pl("PL01 plan nested without end", "plan: nested deeper than 64 levels",
     "{\"rules\": " + std::string(200, '[') + std::string(200, ']') + "}", bad);
  pl("PL01 key twice", "plan: key 'rules' occurs twice", "{\"rules\": [], \"rules\": []}", bad);
  pl("PL01 number that no double holds", "number overflow parsing '1e400'", lever("\"damp\": 1e400"), bad);
  pl("PL01 integer that does not fit 64 bits", "plan: integer at byte", lever("\"block\": 18446744073709551616"), bad);
  pl("PL02 plan is a list", "plan: expected {\"rules\": [...]}", "[1]");
  pl("PL02 unknown key", "plan: unknown key 'rule'", "{\"rules\": [], \"rule\": 1}");
  pl("PL02 rule is text", "plan: a rule is an object", "{\"rules\": [\"*\"]}");
  pl("PL02 no rules at all", "the plan keeps every module", "{\"rules\": []}");
  pl("PL03 rule without glob", "plan: a rule needs a glob", "{\"rules\": [{\"method\": \"rtn\"}]}");
  pl("PL03 unknown key of a rule", "key 'bits' of a rule is unknown or of the wrong type", rule("\"bits\": 4"));
  pl("PL03 glob is a number", "key 'glob' of a rule is unknown or of the wrong type", "{\"rules\": [{\"glob\": 1}]}");
  pl("PL03 scheme is a number", "key 'scheme' of a rule is unknown or of the wrong type", rule("\"scheme\": 4"));
  pl("PL03 gptq is a list", "key 'gptq' of a rule is unknown or of the wrong type", rule("\"gptq\": []"));
  pl("PL03 unknown method", "plan: method \"awq\" is not known", rule("\"method\": \"awq\""));
  pl("PL03 method is null", "plan: method null is not known", rule("\"method\": null"));
  pl("PL03 glob that matches nothing", "rule '*.experts.*' matches none of the 15 linear layers",
     "{\"rules\": [{\"glob\": \"*.experts.*\"}]}");
  pl("PL03 the tied head by name", "'lm_head' is tied to the embedding", "{\"rules\": [{\"glob\": \"lm_head\"}]}",
     unsupported);
  pl("PL04 unknown scheme", "scheme 'nf5': expected w<bits>", rule("\"scheme\": \"nf5\""));
  pl("PL04 scheme of 5 bits", "w5g128: scheme: bits 5", rule("\"scheme\": \"w5g128\""));
  pl("PL04 scheme of 10^20 bits", "scheme 'w100000000000000000000': expected",
     rule("\"scheme\": \"w100000000000000000000\""));
  pl("PL04 group of 9", "w4g9: scheme: group 9", rule("\"scheme\": \"w4g9\""));
  pl("PL04 group of 2^31", "scheme 'w4g2147483648': expected", rule("\"scheme\": \"w4g2147483648\""));
  pl("PL05 unknown lever", "plan: gptq.dampp is not known", lever("\"dampp\": 0.01"));
  pl("PL05 damp 0", "gptq.damp: expected a number above 0", lever("\"damp\": 0"));
  pl("PL05 block 0", "gptq.block: expected an integer in range", lever("\"block\": 0"));
  pl("PL05 sweeps 2^64 - 1", "gptq.sweeps: expected an integer in range", lever("\"sweeps\": 18446744073709551615"));
  pl("PL05 metric -2^63", "gptq.metric: expected an integer in range", lever("\"metric\": -9223372036854775808"));
  pl("PL05 ridge 10^308", "gptq.metric_ridge: expected", lever("\"metric_ridge\": 1e308"));
  pl("PL05 drift 5", "gptq.drift: expected \"chosen\" or a number from 0 to 4", lever("\"drift\": 5"));
  pl("PL05 residual is text", "gptq.residual: expected \"chosen\" or a number", lever("\"residual\": \"yes\""));
  pl("PL05 search is a number", "gptq.search: expected true or false", lever("\"search\": 1"));
  pl("PL05 order is a number", "plan: order 3 is not known", lever("\"order\": 3"));
  pl("PL06 groups that do not divide the columns", "groups of 40 do not divide 64 columns",
     rule("\"scheme\": \"w4g40\""), unsupported);
  pl("PL06 GPTQ without calibration", "qz_plan_run: 'model.layers.0.self_attn.q_proj' is to be solved",
     rule("\"method\": \"gptq\", \"scheme\": \"w4g32\""));

  const auto set = [&](const char* id, const char* words, const char* key, const char* value) {
    cases->push_back({id, QZ_STATUS_INVALID_ARGUMENT, words, [key, value](Place*) {
                        qz_context* context = nullptr;
                        EXPECT_EQ(qz_context_create(nullptr, &context), QZ_STATUS_OK);
                        const Handle<qz_context> owner(context);
                        return outcome(qz_context_set(context, key, value));
                      }});
  };
  set("PL07 unknown setting", "'limits.bytes' is not a setting", "limits.bytes", "1");
  set("PL07 limit of 0", "limits.layers: '0' is not a positive number", "limits.layers", "0");
  set("PL07 negative limit", "limits.hidden: '-1' is not a positive number", "limits.hidden", "-1");
  set("PL07 limit above 2^64", "limits.vocab: '18446744073709551616' is not", "limits.vocab", "18446744073709551616");
  set("PL07 limit with a unit", "limits.header_bytes: '1k' is not", "limits.header_bytes", "1k");
  set("PL07 unknown instruction set", "cpu: 'sse9' is not an instruction set", "cpu", "sse9");
}

}  // namespace hostile
