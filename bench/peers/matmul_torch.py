"""PyTorch's side of the matmul benchmark (oneDNN or MKL, whichever it calls).

    python bench/peers/matmul_torch.py THREADS

Prints {"ready": true}; then answers each line `KIND DTYPE TOKENS IN OUT REPEATS` on standard input with {"seconds"} of one product, the mean of so
many in a row. forward is x W^T, dx is dy W, dw is dy^T x, all results in the dtype of the operands.
"""

import json
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
dtypes = {"bf16": torch.bfloat16, "f32": torch.float32}
print(json.dumps({"ready": True}), flush=True)
with torch.no_grad():
    for line in sys.stdin:
        kind, dtype, *sizes = line.split()
        tokens, n_in, n_out, repeats = map(int, sizes)
        x, w, dy = (torch.randn(*shape).to(dtypes[dtype]) for shape in [(tokens, n_in), (n_out, n_in), (tokens, n_out)])
        run = {"forward": lambda: x @ w.t(), "dx": lambda: dy @ w, "dw": lambda: dy.t() @ x}[kind]
        run()
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        print(json.dumps({"seconds": (time.perf_counter() - start) / repeats}), flush=True)
