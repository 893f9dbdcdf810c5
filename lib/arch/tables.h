// The tables themselves, one per family; list.cc puts them in order.
#pragma once
#include "arch/desc.h"

namespace qz {

extern const ArchDesc kBert;
extern const ArchDesc kBertClassifier;
extern const ArchDesc kBloom;
extern const ArchDesc kDeepseekV2;
extern const ArchDesc kDeepseekV3;
extern const ArchDesc kFalcon;
extern const ArchDesc kFalcon11b;
extern const ArchDesc kFalcon40b;
extern const ArchDesc kFalconRw;
extern const ArchDesc kGemma;
extern const ArchDesc kGemma2;
extern const ArchDesc kGemma3;
extern const ArchDesc kGemma3Vision;
extern const ArchDesc kGlm;
extern const ArchDesc kGlm4;
extern const ArchDesc kGpt2;
extern const ArchDesc kGptNeox;
extern const ArchDesc kHelium;
extern const ArchDesc kInternlm2;
extern const ArchDesc kInternlm3;
extern const ArchDesc kInternvl;
extern const ArchDesc kInternvlChat;
extern const ArchDesc kLlama;
extern const ArchDesc kMistral;
extern const ArchDesc kMixtral;
extern const ArchDesc kOpt;
extern const ArchDesc kPhi3;
extern const ArchDesc kQwen2;
extern const ArchDesc kQwen25Vl;
extern const ArchDesc kQwen2Moe;
extern const ArchDesc kQwen2Vl;
extern const ArchDesc kQwen3;
extern const ArchDesc kQwen3Moe;
extern const ArchDesc kRoberta;
extern const ArchDesc kRobertaClassifier;
extern const ArchDesc kStarcoder2;

}  // namespace qz
