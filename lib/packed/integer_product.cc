#include "packed/integer_product.h"

namespace qz {
namespace {

ByteRows byte_rows(const InputCodes& in, MatrixView x) {
  return {in.codes.data(), in.factors.data(), x.rows, x.cols, in.factors_of_row};
}

}  // namespace

bool takes_integers(const QMatrix& q, const TiledWeights& tiles) {
  const CodeKind code = q.scheme.code;
  return q.scheme.activations != Activations::kNone && (code == CodeKind::kInt || code == CodeKind::kLlmInt8) &&
         takes_bytes(tiles);
}

Status integer_product(const Context& context, const InputRule& rule, const TiledWeights& w, MatrixView x,
                       const float* bias, bool accumulate, const MutableRows& y, Progress* progress) {
  InputCodes in;
  QZ_TRY(input_codes(context, rule, x, &in));
  QZ_TRY(low_bit_product_bytes(context, w, byte_rows(in, x), bias, accumulate, y, progress));
  if (in.rest.empty()) return {};
  return low_bit_product(context, w, {in.rest.data(), DType::kF32, x.rows, x.cols, in.rest.cols()}, nullptr, true, y,
                         progress);
}

Status rounded_product(const Context& context, const TiledWeights& w, MatrixView x, const float* bias, bool accumulate,
                       const MutableRows& y, Progress* progress) {
  InputCodes in;
  if (w.order.empty() && w.places() == w.cols) {
    QZ_TRY(input_codes_of_runs(context, w.starts, x, &in));
  } else {
    QZ_TRY(input_codes(context, {CodeKind::kInt, Activations::kToken, 0}, x, &in));
  }
  return low_bit_product_bytes(context, w, byte_rows(in, x), bias, accumulate, y, progress);
}

}  // namespace qz
