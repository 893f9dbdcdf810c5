// Models that see: a vision tower, a projector, and a language model of a family of its own, which is what is
// quantized. InternVL 3 and 3.5 as transformers writes them and as their authors do, Qwen2-VL and Qwen2.5-VL, and Gemma
// 3 with pictures. Qwen's rotary positions have three parts (time, height, width), which are the same number on text,
// so that they are plain ones.
#include "arch/tables.h"

namespace qz {

const ArchDesc kGemma3Vision = {.name = "gemma3_vision",
                                .hf_class = "Gemma3ForConditionalGeneration",
                                .model_type = "gemma3",
                                .text_config = "text_config",
                                .text_prefix = "language_model.",
                                .text_body = "model.language_model."};

const ArchDesc kInternvl = {.name = "internvl",
                            .hf_class = "InternVLForConditionalGeneration",
                            .model_type = "internvl",
                            .text_config = "text_config",
                            .text_prefix = "language_model.",
                            .text_body = "model.language_model."};

const ArchDesc kInternvlChat = {.name = "internvl_chat",
                                .hf_class = "InternVLChatModel",
                                .model_type = "internvl_chat",
                                .text_config = "llm_config",
                                .text_prefix = "language_model.",
                                .text_body = "model.language_model."};

const ArchDesc kQwen25Vl = {.name = "qwen2_5_vl",
                            .hf_class = "Qwen2_5_VLForConditionalGeneration",
                            .model_type = "qwen2_5_vl",
                            .text_config = "text_config",
                            .text_family = "qwen2",
                            .text_prefix = "language_model.",
                            .text_body = "model.language_model."};

const ArchDesc kQwen2Vl = {.name = "qwen2_vl",
                           .hf_class = "Qwen2VLForConditionalGeneration",
                           .model_type = "qwen2_vl",
                           .text_config = "text_config",
                           .text_family = "qwen2",
                           .text_prefix = "language_model.",
                           .text_body = "model.language_model."};

}  // namespace qz
