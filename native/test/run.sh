#!/bin/sh
# Builds and runs the kernels' own tests once for each instruction set of this machine, the AMX path on emulated tiles.
#   native/test/run.sh [--only NAME] [--sanitize] [cases] [seed]
# NAME is portable, avx2, avx512, avx512bf16 or amx.
set -eu
cd "$(dirname "$0")/.."
flags="-std=c++20 -O3 -g -fno-exceptions -fno-rtti -ffp-contract=off -fno-math-errno -Wall -Wextra -Wno-uninitialized -Wno-maybe-uninitialized"
only=
if [ "${1:-}" = --only ]; then
  only=$2
  shift 2
fi
if [ "${1:-}" = --sanitize ]; then
  shift
  flags="$flags -fsanitize=address,undefined -fno-sanitize-recover=all"
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

try() {
  name=$1 needs=$2
  shift 2
  if [ -n "$only" ] && [ "$only" != "${name%% *}" ]; then return; fi
  if [ -n "$needs" ] && ! grep -qw "$needs" /proc/cpuinfo 2>/dev/null; then
    echo "$name: this processor has no $needs"
    return
  fi
  # shellcheck disable=SC2086
  ${CXX:-c++} $flags "$@" test/matmul_test.cc kernels/matmul.cc kernels/matmul_skinny.cc kernels/column_sum.cc -pthread -o "$out/test"
  printf '%s: ' "$name"
  "$out/test" $arguments
  for kernel in attention cross_entropy rope conv1d quantized; do
    case $kernel in
      attention) sources="kernels/attention.cc kernels/attention_backward.cc" ;;
      quantized) sources="kernels/quantized_matmul.cc kernels/quantized_best.cc kernels/interleave.cc kernels/dequantize.cc kernels/copy.cc kernels/matmul.cc kernels/matmul_skinny.cc" ;;
      *) sources=kernels/$kernel.cc ;;
    esac
    # shellcheck disable=SC2086
    ${CXX:-c++} $flags "$@" test/${kernel}_test.cc $sources -pthread -o "$out/test"
    printf '%s: ' "$name"
    "$out/test"
  done
}

arguments="$*"
avx512="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma"
case "$(uname -m)" in
  x86_64)
    try portable ""
    try avx2 avx2 -mavx2 -mfma -mf16c
    # shellcheck disable=SC2086
    try avx512 avx512dq $avx512
    # shellcheck disable=SC2086
    try avx512bf16 avx512_bf16 $avx512 -mavx512bf16 -mavx512vnni
    # shellcheck disable=SC2086
    try "amx (emulated)" avx512_bf16 $avx512 -mavx512bf16 -mavx512vnni -DHORNBOOK_EMULATE_AMX
    ;;
  *) try native "" ;;
esac

# shellcheck disable=SC2086
${CXX:-c++} ${flags%-fno-exceptions*} ${flags#*-fno-rtti} test/memory_test.cc executor/memory.cc -o "$out/test"
"$out/test"
