// gguf-py 0.19, gguf/constants.py (MODEL_ARCH_NAMES, TENSOR_NAMES); llama.cpp's conversion of LlamaForCausalLM permutes
// q and k, that of the Qwens and of Phi-3 does not.
#include "format/gguf_names.h"

#include <charconv>

namespace qz {
namespace {

constexpr GgufFamily kFamilies[] = {
    {"llama", "LlamaForCausalLM", true, false},
    {"llama", "MistralForCausalLM", true, false, R"({"sliding_window": null})"},
    {"llama", "MixtralForCausalLM", true, true, R"({"sliding_window": null})"},
    {"qwen2", "Qwen2ForCausalLM"},
    {"qwen3", "Qwen3ForCausalLM"},
    {"qwen2moe", "Qwen2MoeForCausalLM", false, true, R"({"norm_topk_prob": false})"},
    {"qwen3moe", "Qwen3MoeForCausalLM", false, true, R"({"norm_topk_prob": true})"},
    {"phi3", "Phi3ForCausalLM"},
    {"starcoder2", "Starcoder2ForCausalLM"},
};

struct Role {
  std::string_view ArchDesc::* part;
  std::string_view name;
  enum Kind { kPlain, kQ, kK, kStacked } kind = kPlain;
};
constexpr Role kEnds[] = {{&ArchDesc::embed, "token_embd"},
                          {&ArchDesc::embed_norm, "token_embd_norm"},
                          {&ArchDesc::final_norm, "output_norm"},
                          {&ArchDesc::head, "output"}};
constexpr Role kBlock[] = {
    {&ArchDesc::attn_norm, "attn_norm"},
    {&ArchDesc::mlp_norm, "ffn_norm"},
    {&ArchDesc::q, "attn_q", Role::kQ},
    {&ArchDesc::k, "attn_k", Role::kK},
    {&ArchDesc::v, "attn_v"},
    {&ArchDesc::qkv, "attn_qkv"},
    {&ArchDesc::o, "attn_output"},
    {&ArchDesc::q_norm, "attn_q_norm"},
    {&ArchDesc::k_norm, "attn_k_norm"},
    {&ArchDesc::gate_up, "ffn_up"},
    {&ArchDesc::gate, "ffn_gate"},
    {&ArchDesc::up, "ffn_up"},
    {&ArchDesc::down, "ffn_down"},
    {&ArchDesc::router, "ffn_gate_inp"},
    {&ArchDesc::expert_gate, "ffn_gate_exps", Role::kStacked},
    {&ArchDesc::expert_up, "ffn_up_exps", Role::kStacked},
    {&ArchDesc::expert_down, "ffn_down_exps", Role::kStacked},
    {&ArchDesc::shared_gate, "ffn_gate_shexp"},
    {&ArchDesc::shared_up, "ffn_up_shexp"},
    {&ArchDesc::shared_down, "ffn_down_shexp"},
    {&ArchDesc::shared_scale, "ffn_gate_inp_shexp"},
};

// Takes a number off the front.
bool take_number(std::string_view* text, int64_t* out) {
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), *out);
  if (ec != std::errc() || *out < 0) return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

// What stands for {} in `pattern`, of which `text` must be an instance up to its end or the next dot.
bool match(std::string_view pattern, std::string_view* text, int64_t* number) {
  const size_t slot = pattern.find("{}");
  const std::string_view front = pattern.substr(0, slot);
  if (text->substr(0, front.size()) != front) return false;
  std::string_view rest = text->substr(front.size());
  if (slot != std::string_view::npos) {
    const std::string_view back = pattern.substr(slot + 2);
    if (!take_number(&rest, number) || rest.substr(0, back.size()) != back) return false;
    rest.remove_prefix(back.size());
  }
  if (!rest.empty() && rest[0] != '.') return false;
  *text = rest;
  return true;
}

bool is_ending(std::string_view text) { return text == ".weight" || text == ".bias"; }

std::string numbered(std::string_view pattern, int64_t number) {
  std::string out(pattern);
  if (const size_t slot = out.find("{}"); slot != std::string::npos) out.replace(slot, 2, std::to_string(number));
  return out;
}

}  // namespace

const GgufFamily* find_gguf_family(std::string_view name, bool experts) {
  for (const GgufFamily& f : kFamilies)
    if (f.name == name && f.experts == experts) return &f;
  return nullptr;
}

const GgufFamily* gguf_family_of(std::string_view hf_class) {
  for (const GgufFamily& f : kFamilies)
    if (f.hf_class == hf_class) return &f;
  return nullptr;
}

std::string gguf_families() {
  std::string names;
  for (const GgufFamily& f : kFamilies)
    if (names.find(f.name) == std::string::npos) names.append(names.empty() ? "" : ", ").append(f.name);
  return names;
}

std::optional<GgufName> name_from_gguf(const ArchDesc& desc, std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || !is_ending(name.substr(dot))) return std::nullopt;
  const std::string ending(name.substr(dot));
  std::string_view rest = name.substr(0, dot);
  for (const Role& role : kEnds)
    if (role.name == rest && !(desc.*role.part).empty())
      return GgufName{std::string(role.part == &ArchDesc::head ? "" : desc.prefix) + std::string(desc.*role.part) +
                      ending};
  int64_t layer = 0;
  if (rest.substr(0, 4) != "blk.") return std::nullopt;
  rest.remove_prefix(4);
  if (!take_number(&rest, &layer) || rest.empty() || rest[0] != '.') return std::nullopt;
  rest.remove_prefix(1);
  for (const Role& role : kBlock)
    if (role.name == rest && !(desc.*role.part).empty())
      return GgufName{
          std::string(desc.prefix) + numbered(desc.layer, layer) + "." + std::string(desc.*role.part) + ending,
          role.kind == Role::kStacked, role.kind == Role::kQ, role.kind == Role::kK};
  return std::nullopt;
}

std::string name_to_gguf(const ArchDesc& desc, std::string_view hf) {
  int64_t layer = 0, expert = 0;
  for (const Role& role : kEnds) {
    std::string_view rest = hf;
    if (!(desc.*role.part).empty() && match(desc.*role.part, &rest, &expert) && is_ending(rest))
      return std::string(role.name) + std::string(rest);
  }
  std::string_view inner = hf;
  if (!match(desc.layer, &inner, &layer) || inner.empty()) return "";
  inner.remove_prefix(1);
  for (const Role& role : kBlock) {
    std::string_view rest = inner;
    if (!(desc.*role.part).empty() && match(desc.*role.part, &rest, &expert) && is_ending(rest))
      return "blk." + std::to_string(layer) + "." + std::string(role.name) + std::string(rest);
  }
  return "";
}

}  // namespace qz
