"""
The PyTorch peer of the training benchmark: a GPT-2 as nanoGPT trains it, with what PyTorch offers for speed: scaled_dot_product_attention,
fused AdamW, bfloat16 autocast, torch.compile (which needs a C++ compiler).

    python bench/peers/train_torch.py --layers 4 --heads 4 --dims 128 --context 64 --batch 12 --vocab 65 [--dtype bf16] [--compile]

It stays alive and measures when told to, so that two programs can take turns on one machine. It prints one line of JSON when it is warm
({"ready": true, "parameters", ...}: the first steps, and any compiling, are over), and then, for each line `run N` on its standard input, takes
N steps and answers with one line: {"tokensPerSecond", "stepMs" (both over all N steps), "steps", "loss", "peakRssBytes"}. It ends with its input.

A step is what a training loop does: a batch drawn from the tokens, forward, loss, backward, clipping to norm 1, AdamW, gradients dropped.
"""

import argparse
import json
import math
import os
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Attention(nn.Module):
    def __init__(self, dims, heads, bias):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dims, 3 * dims, bias=bias)
        self.out = nn.Linear(dims, dims, bias=bias)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in self.qkv(x).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, dims, heads, bias):
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, bias=bias)
        self.attention = Attention(dims, heads, bias)
        self.norm2 = nn.LayerNorm(dims, bias=bias)
        self.up = nn.Linear(dims, 4 * dims, bias=bias)
        self.down = nn.Linear(4 * dims, dims, bias=bias)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.tokens = nn.Embedding(a.vocab, a.dims)
        self.positions = nn.Embedding(a.context, a.dims)
        self.blocks = nn.ModuleList(Block(a.dims, a.heads, a.bias) for _ in range(a.layers))
        self.norm = nn.LayerNorm(a.dims, bias=a.bias)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * a.layers) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def adamw(model, a):
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=a.optimizer == "fused", foreach=a.optimizer == "foreach")


def peak_rss_bytes():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except FileNotFoundError:  # In bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    for name, value in {"layers": 4, "heads": 4, "dims": 128, "context": 64, "batch": 12, "vocab": 65, "threads": default_threads, "seed": 1, "warmup": 3}.items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    p.add_argument("--optimizer", choices=["fused", "foreach", "loop"], default="fused")
    p.add_argument("--bias", action="store_true", help="biases in linear layers and norms, as GPT-2 has (nanoGPT's own recipes have none)")
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)

    model = GPT(a)
    optimizer = adamw(model, a)
    loss_of = torch.compile(model) if a.compile else model
    data = torch.randint(a.vocab, (1_000_000,))

    def step():
        starts = torch.randint(len(data) - a.context, (a.batch,)).tolist()
        ids = torch.stack([data[i : i + a.context] for i in starts])
        targets = torch.stack([data[i + 1 : i + 1 + a.context] for i in starts])
        with torch.autocast("cpu", torch.bfloat16, enabled=a.dtype == "bf16"):
            loss = loss_of(ids, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    for _ in range(a.warmup):
        step()
    print(json.dumps({"ready": True, "parameters": sum(p.numel() for p in model.parameters()), "torch": torch.__version__, "threads": a.threads}), flush=True)

    for line in sys.stdin:
        words = line.split()
        if len(words) != 2 or words[0] != "run" or not words[1].isdigit() or int(words[1]) < 1:
            print(json.dumps({"error": f"expected 'run N', got {line.strip()!r}"}), flush=True)
            continue
        steps = int(words[1])
        start = time.perf_counter()
        for _ in range(steps):
            loss = step()
        seconds = time.perf_counter() - start
        tokens = steps * a.batch * a.context
        answer = {"tokensPerSecond": tokens / seconds, "stepMs": 1000 * seconds / steps, "steps": steps, "loss": loss, "peakRssBytes": peak_rss_bytes()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
