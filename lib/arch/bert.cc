// Encoders: every token sees the whole text, norms follow the residual additions, learned positions and token types are
// added to the embeddings and normed. BERT (arXiv 1810.04805) with its masked head or a classifier's; RoBERTa (arXiv
// 1907.11692), whose positions begin at row 2, of the rows that config.json counts.
#include "arch/tables.h"

namespace qz {
namespace {

constexpr ArchDesc kBase = {.name = "bert",
                            .hf_class = "BertForMaskedLM|BertForPreTraining",
                            .model_type = "bert",
                            .only = "is_decoder=false, position_embedding_type=\"absolute\"",
                            .prefix = "bert.",
                            .layer = "encoder.layer.{}",
                            .embed = "embeddings.word_embeddings",
                            .positions = "embeddings.position_embeddings",
                            .final_norm = "",
                            .head = "cls.predictions.decoder",
                            .token_types = "embeddings.token_type_embeddings",
                            .embed_norm = "embeddings.LayerNorm",
                            .head_dense = "cls.predictions.transform.dense",
                            .head_norm = "cls.predictions.transform.LayerNorm",
                            .head_bias = "cls.predictions.bias",
                            .attn_norm = "attention.output.LayerNorm",
                            .mlp_norm = "output.LayerNorm",
                            .q = "attention.self.query",
                            .k = "attention.self.key",
                            .v = "attention.self.value",
                            .o = "attention.output.dense",
                            .gate = "",
                            .up = "intermediate.dense",
                            .down = "output.dense",
                            .biases = "q k v o up down",
                            .norm = NormKind::kLayer,
                            .position = PositionKind::kLearned,
                            .mlp = MlpKind::kPlain,
                            .causal = false,
                            .norm_first = false,
                            .default_activation = "gelu",
                            .default_eps = 1e-12,
                            .default_tied = true,
                            .keys = {.kv_heads = "", .head_dim = "", .norm_eps = "layer_norm_eps"}};

constexpr ArchDesc classifier(ArchDesc desc, std::string_view name, std::string_view hf_class) {
  desc.name = name;
  desc.hf_class = hf_class;
  desc.head_dense = desc.head_norm = desc.head_bias = "";
  desc.default_tied = false;
  return desc;
}

constexpr ArchDesc bert_classifier() {
  ArchDesc desc = classifier(kBase, "bert_classifier", "BertForSequenceClassification");
  desc.pooler = "bert.pooler.dense";
  desc.head = "classifier";
  return desc;
}

constexpr ArchDesc roberta() {
  ArchDesc desc = kBase;
  desc.name = "roberta";
  desc.hf_class = "RobertaForMaskedLM|XLMRobertaForMaskedLM";
  desc.model_type = "roberta";
  desc.only = "is_decoder=false, position_embedding_type=\"absolute\", pad_token_id=1";  // positions begin after it
  desc.prefix = "roberta.";
  desc.head = "lm_head.decoder";
  desc.head_dense = "lm_head.dense";
  desc.head_norm = "lm_head.layer_norm";
  desc.head_bias = "lm_head.bias";
  desc.position_offset = 2;
  desc.max_seq_is_rows = true;
  desc.default_eps = 1e-5;
  desc.head_activation = "gelu";
  return desc;
}

constexpr ArchDesc roberta_classifier() {
  ArchDesc desc = classifier(roberta(), "roberta_classifier",
                             "RobertaForSequenceClassification|XLMRobertaForSequenceClassification");
  desc.pooler = "classifier.dense";
  desc.head = "classifier.out_proj";
  return desc;
}

}  // namespace

const ArchDesc kBert = kBase;
const ArchDesc kBertClassifier = bert_classifier();
const ArchDesc kRoberta = roberta();
const ArchDesc kRobertaClassifier = roberta_classifier();

}  // namespace qz
