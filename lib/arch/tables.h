// The tables themselves, one per family; list.cc puts them in order.
#pragma once
#include "arch/desc.h"

namespace qz {

extern const ArchDesc kLlama;
extern const ArchDesc kMistral;
extern const ArchDesc kOpt;
extern const ArchDesc kQwen2;
extern const ArchDesc kQwen3;

}  // namespace qz
