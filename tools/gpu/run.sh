#!/usr/bin/env bash
# tools/gpu/run.sh FOLDER [dry]: everything that is to be known about libqz_cuda.so on this GPU, into FOLDER: build, every operation
# against double precision, compute-sanitizer where it is there, then times. Needs nvcc 13, g++ and python3, cuBLASLt for products of
# more than 64 tokens and cuSOLVER for factorizations; no network. dry: the same steps without a GPU, on the emulator.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=${1:?"usage: tools/gpu/run.sh FOLDER [dry]"} dry=${2:-}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here"

say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

nvcc=
for candidate in "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc build/cuda-toolkit/nvidia/cu13/bin/nvcc; do
  if [[ -z $nvcc && -x $candidate ]]; then nvcc=$(realpath "$candidate"); fi
done
[[ $nvcc ]] || { echo "no nvcc: install CUDA 13, or ./dev setup cuda" >&2; exit 1; }
toolkit=$(dirname "$(dirname "$nvcc")")
cudart=$(find "$toolkit/" -name libcudart_static.a | head -1)
headers=$(dirname "$(find "$toolkit/" -name cuda_runtime_api.h | head -1)")
# torch brings its own libraries; wherever they are, the loader has to find them, and what they need themselves.
newest() { find / -xdev \( -name "$1" -o -name "$2" \) 2>/dev/null | sort -V | tail -1 || true; }
cublas=$(newest libcublasLt.so.13 libcublasLt.so.12)
cusolver=$(newest libcusolver.so.12 libcusolver.so.11)
for library in "$cublas" "$cusolver" "$(newest libcusparse.so.12 libcusparse.so.11)" "$(newest libnvJitLink.so.13 libnvJitLink.so.12)"; do
  if [[ $library ]]; then
    LD_LIBRARY_PATH=$(dirname "$library")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
  fi
done

arch=90a
if [[ ! $dry ]]; then
  arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d '. ')
  if [[ $arch == 90 ]]; then arch=90a; fi
fi
flags=(-Icuda -Iinclude -Ilib -I.)
{
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null || true
  "$nvcc" --version | tail -2
  nvidia-smi 2>/dev/null || echo "no nvidia-smi"
  echo "cuBLASLt: ${cublas:-none}"
  echo "cuSOLVER: ${cusolver:-none}"
} | tee "$out/machine.txt"

say "build for sm_$arch"
objects=()
for kernel in columns dequantize finish ring stream; do
  python3 -B tools/gpu/compile "$nvcc" "$arch" "cuda/$kernel.cu" "$work/$kernel.o" "${flags[@]}"
  cp "$work/$kernel.o.json" "$out/$kernel.ptxas.json"
  objects+=("$work/$kernel.o")
done
# Instructions of sm_90a: on other devices it is linked, and never launched.
python3 -B tools/gpu/compile "$nvcc" 90a cuda/wide.cu "$work/wide.o" "${flags[@]}"
cp "$work/wide.o.json" "$out/wide.ptxas.json"
objects+=("$work/wide.o")
for part in gptq request cublaslt cusolver runtime; do
  g++ -std=c++20 -O2 -fPIC -fvisibility=hidden "${flags[@]}" -isystem "$headers" -c "cuda/$part.cc" -o "$work/$part.o"
  objects+=("$work/$part.o")
done
libraries=("$cudart" -ldl -lrt -lpthread)
# plug_in NAME [OPTION]: the objects, and what depends on the options.
plug_in() {
  local part own=()
  for part in backend product; do
    g++ -std=c++20 -O2 -fPIC -fvisibility=hidden "${flags[@]}" "${@:2}" -c "cuda/$part.cc" -o "$work/$1_$part.o"
    own+=("$work/$1_$part.o")
  done
  g++ -shared -Wl,-z,defs -o "$work/$1.so" "${own[@]}" "${objects[@]}" "${libraries[@]}" -Wl,--version-script=cuda/libqz_cuda.map
}
plug_in libqz_cuda
plug_in libqz_cuda_wide -DQZ_CUDA_WIDE # the wide kernel for 65 to 1024 tokens
g++ -std=c++20 -O3 "${flags[@]}" tests/backend/conformance.cc -ldl -o "$work/conformance"
g++ -std=c++20 -O3 "${flags[@]}" tools/gpu/gptq_bench.cc -ldl -o "$work/gptq_bench"
"$nvcc" -std=c++20 -O2 -gencode "arch=compute_$arch,code=sm_$arch" "${flags[@]}" tools/gpu/bench.cu "${objects[@]}" -cudart none \
  -Xlinker "$cudart" -ldl -lrt -lpthread -o "$work/bench"
if [[ $arch == 90a ]]; then
  python3 -B tools/gpu/compile "$nvcc" 90a tools/gpu/probe.cu "$work/probe.o" "${flags[@]}"
  g++ "$work/probe.o" "$cudart" -ldl -lrt -lpthread -o "$work/probe"
fi
plugin=$work/libqz_cuda.so

if [[ $dry ]]; then
  say "conformance on the emulator"
  g++ -std=c++20 -O2 -fPIC -shared -Wno-unknown-pragmas "${flags[@]}" cuda/backend.cc cuda/gptq.cc cuda/product.cc cuda/request.cc tests/cuda/block.cc \
    tests/cuda/emulator.cc tests/cuda/factor_host.cc tests/cuda/launch_host.cc tests/cuda/runtime_host.cc lib/tensor/convert.cc lib/tensor/dtype.cc -o "$work/emulated.so"
  "$work/conformance" "$work/emulated.so" | tee "$out/conformance.txt"
  say "GPTQ's operations on the emulator"
  "$work/gptq_bench" "$work/emulated.so" "$out/gptq.json" small
  say "the plug-in on this machine"
  "$work/probe" || (($? == 77))
  "$work/conformance" "$plugin" || (($? == 77))
  say "cases of the benchmark"
  "$work/bench" "$plugin" "$out/bench.json" dry | tee "$out/bench.txt"
  say "done: $out"
  exit 0
fi

if [[ -x $work/probe ]]; then
  say "asynchronous instructions"
  "$work/probe" | tee "$out/probe.txt" || echo "probe: exit status $?"
fi
say "conformance"
"$work/conformance" "$plugin" full | tee "$out/conformance.txt"
if [[ $arch == 90a ]]; then
  say "conformance, the wide kernel"
  "$work/conformance" "$work/libqz_cuda_wide.so" full | tee "$out/conformance_wide.txt"
fi
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    say "compute-sanitizer $tool"
    timeout 60 compute-sanitizer --tool "$tool" --error-exitcode 1 "$work/conformance" "$plugin" >"$out/$tool.txt" 2>&1 ||
      echo "compute-sanitizer $tool: exit status $?, see $tool.txt"
    tail -2 "$out/$tool.txt"
  done
else
  echo "no compute-sanitizer here"
fi
say "times"
timeout 60 "$work/gptq_bench" "$plugin" "$out/gptq.json" | tee "$out/gptq.txt" || echo "gptq_bench: exit status $?"
timeout 240 "$work/bench" "$plugin" "$out/bench.json" | tee "$out/bench.txt"
if [[ $arch == 90a ]]; then
  say "times, the wide kernel from 65 to 1024 tokens"
  timeout 120 "$work/bench" "$work/libqz_cuda_wide.so" "$out/bench_wide.json" | tee "$out/bench_wide.txt" || echo "bench: exit status $?"
fi
say "done: $out"
