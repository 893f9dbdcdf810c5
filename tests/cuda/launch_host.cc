// The launchers of cuda/args.h on the emulator.
#include <cstdlib>

#include "columns.h"
#include "dequantize.h"
#include "emulator.h"
#include "finish.h"
#include "ring_variants.h"
#include "stream_variants.h"
#include "wide.h"

namespace qz::cuda {

int load_dequantize() { return 0; }
int load_stream() { return 0; }
int load_ring() { return 0; }
int load_wide() { return std::getenv("QZ_TEST_NO_WIDE") ? 1 : 0; }  // a kernel that the device does not load
int load_columns() { return 0; }
int load_finish() { return 0; }

int launch_dequantize(const DequantizeArgs& args, void*) {
  run_grid(static_cast<int32_t>(args.stripes * bricks_of(args.w.cols)), kDequantizeThreads, 0,
           [&](HostOps& ops) { dequantize_body(args, ops); });
  return 0;
}

int launch_stream(const ProductArgs& args, void*) {
  with_stream_variant(args, [&]<class Type, int32_t kTiles, int32_t kAtoms>() {
    run_grid(static_cast<int32_t>(bricks_of(args.w.rows) * args.splits), kStreamThreads, stream_shared_floats(kTiles),
             [&](HostOps& ops) { stream_body<Type, kTiles, kAtoms>(args, ops); });
  });
  return 0;
}

int launch_ring(const ProductArgs& args, void*) {
  with_ring_variant(args, [&]<class Type, class R>() {
    run_grid(static_cast<int32_t>(ring_tiles<R>(args.w.rows) * args.splits), kRingThreads, R::kBytes / 4,
             [&](HostOps& ops) { ring_body<Type, R>(args, ops); });
  });
  return 0;
}

int launch_wide(const ProductArgs& args, void*) {
  with_wide_variant(args, [&]<class Type, class W>() {
    run_grid(static_cast<int32_t>(wide_blocks(args.w.rows, args.m)), kWideThreads, W::kBytes / 4,
             [&](HostOps& ops) { wide_body<Type, W>(args, ops); });
  });
  return 0;
}

int launch_columns(const ColumnsArgs& args, void*) {
  run_grid((args.rows + kColumnsBlockRows - 1) / kColumnsBlockRows, kColumnsThreads, kTriangle,
           [&](HostOps& ops) { columns_body(args, ops); });
  return 0;
}

int launch_finish(const FinishArgs& args, void*) {
  run_grid(args.m * finish_blocks_of_row(args.rows), kFinishThreads, 0, [&](HostOps& ops) { finish_body(args, ops); });
  return 0;
}

}  // namespace qz::cuda
