"""Matrix products on the shapes of training, ours and PyTorch's (oneDNN, MKL), in turn.

    python bench/native/matmul_bench.py [--dtype bf16|f32] [--rounds N] [--only gpt2|10.8m|nano|decode] [--threads N]

Prints GFLOP/s (median over the rounds, and best) and the ratio, for AVX-512 BF16. Our dw is f32, as training has it, PyTorch's is bf16.
With `--threads 1` both are measured in processor time, which other programs on the machine disturb less.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch

root = pathlib.Path(__file__).resolve().parents[2]
shapes = {
    "gpt2": [(1024, 768, 768), (1024, 768, 2304), (1024, 768, 3072), (1024, 3072, 768), (256, 768, 50257)],
    "10.8m": [(4096, 384, 384), (4096, 384, 1152), (4096, 384, 1536), (4096, 1536, 384)],
    "nano": [(768, 128, 128), (768, 128, 384), (768, 128, 512), (768, 512, 128), (768, 128, 65)],
    "decode": [(1, 768, 768), (1, 768, 3072), (1, 3072, 768), (1, 768, 50257), (4, 768, 3072), (8, 768, 3072), (16, 768, 3072)],
}


def build(folder):
    flags = "-std=c++20 -O3 -fno-exceptions -fno-rtti -ffp-contract=off -fno-math-errno -w -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mavx512bf16 -mavx512vnni".split()
    kernels = [str(root / "native/kernels" / f"{name}.cc") for name in ("matmul", "matmul_skinny")]
    path = f"{folder}/matmul_bench"
    subprocess.run(["c++", *flags, str(root / "bench/native/matmul_bench.cc"), *kernels, "-pthread", "-o", path], check=True)
    return path


def peer(clock, kind, dtype, tokens, n_in, n_out, repeats):
    x, w, dy = torch.rand(tokens, n_in, dtype=dtype), torch.rand(n_out, n_in, dtype=dtype), torch.rand(tokens, n_out, dtype=dtype)
    run = {"forward": lambda: x @ w.t(), "dx": lambda: dy @ w, "dw": lambda: dy.t() @ x}[kind]
    seconds = []
    for _ in range(repeats):
        start = clock()
        run()
        seconds.append(clock() - start)
    return min(seconds), statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(shapes))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[options.dtype]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        ours = subprocess.Popen([build(folder), str(options.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in [options.only] if options.only else shapes:
            for tokens, n_in, n_out in shapes[name]:
                flops = 2e-9 * tokens * n_in * n_out
                repeats = max(3, min(50, int(10 / flops)))
                for kind in ["forward"] if name == "decode" else ["forward", "dx", "dw"]:
                    mine, theirs = [], []
                    for _ in range(options.rounds):
                        print(kind, options.dtype, tokens, n_in, n_out, repeats, file=ours.stdin, flush=True)
                        mine.append([float(s) for s in ours.stdout.readline().split()])
                        theirs.append(peer(clock, kind, dtype, tokens, n_in, n_out, repeats))
                    best = [flops / min(s[0] for s in side) for side in (mine, theirs)]
                    median = [flops / statistics.median(s[1] for s in side) for side in (mine, theirs)]
                    print(f"{name:7} {kind:8} {tokens:5} {n_in:5} {n_out:6}   median {median[0]:6.1f} / {median[1]:6.1f} = {median[0] / median[1]:5.2f}"
                          f"   best {best[0]:6.1f} / {best[1]:6.1f} = {best[0] / best[1]:5.2f}", flush=True)
        ours.stdin.close()


main()
