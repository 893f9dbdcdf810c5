// The same numbers under another scheme: wider groups as narrower ones, symmetric as asymmetric, integer zero points as
// floats, LLM.int8 as rows of integers, blocks as integers. What lets one format's matrix move to another without
// quantizing again.
#pragma once
#include <vector>

#include "packed/qmatrix.h"

namespace qz {

// Schemes that could hold the numbers of a matrix of `from`, the nearest to it first, itself included. Whether they do
// depends on the numbers too (rewrite).
std::vector<Scheme> rewritings(const Scheme& from, int64_t cols);

// q under scheme `to`: every weight dequantizes to the same float, and scales are as exact in `to.scale` as they were.
// kUnsupported says in words what would change; nothing is rounded. Activations count: a matrix whose inputs are 8 bits
// is not the same with floats.
Result<QMatrix> rewrite(const QMatrix& q, const Scheme& to);

}  // namespace qz
