"""How far a GGUF is from another by llama.cpp's own logits: what `hornbook evaluate MODEL --against BASE --json` must say.

    python scripts/reference/divergence.py model-Q4_K_M.gguf model-f32.gguf text.txt --tokens 2000 --context 256 [--bos]

Needs llama-cpp-python and numpy. Windows follow each other, and every token but the first is predicted once (with --bos each window begins with that
token, and the first is predicted too), as src/evaluate/windows.ts cuts them.
"""

import argparse
import json

import numpy as np
from llama_cpp import Llama


def windows(ids, context, bos):
    """Pairs of inputs and targets."""
    targets = ids if bos is not None else ids[1:]
    for at in range(0, len(targets), context):
        part = targets[at : at + context]
        yield ([bos] + part[:-1] if bos is not None else ids[at : at + len(part)]), part


def log_probabilities(model, inputs):
    """Float64 log softmax of every position, [len(inputs), vocabulary]."""
    model.reset()
    model.eval(inputs)
    logits = np.array(model.scores[: len(inputs)], dtype=np.float64)
    most = logits.max(axis=1, keepdims=True)
    return logits - most - np.log(np.exp(logits - most).sum(axis=1, keepdims=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("base")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--bos", action="store_true")
    parser.add_argument("--ids", help="a file of token ids as JSON, in place of llama.cpp's tokenizer")
    args = parser.parse_args()

    model, base = (Llama(path, n_ctx=args.context, n_batch=args.context, logits_all=True, n_threads=2, verbose=False) for path in (args.model, args.base))
    if args.ids:
        with open(args.ids) as file:
            ids = json.load(file)
    else:
        with open(args.text, "rb") as file:
            ids = base.tokenize(file.read(), add_bos=False, special=False)
    ids = ids[: args.tokens]
    kl, nll, base_nll, same = [], [], [], []
    for inputs, targets in windows(ids, args.context, base.token_bos() if args.bos else None):
        q, p = log_probabilities(model, inputs), log_probabilities(base, inputs)
        rows = np.arange(len(targets))
        kl.append((np.exp(p) * (p - q)).sum(axis=1))
        nll.append(-q[rows, targets])
        base_nll.append(-p[rows, targets])
        same.append(q.argmax(axis=1) == p.argmax(axis=1))
    kl, nll, base_nll, same = map(np.concatenate, (kl, nll, base_nll, same))
    moved = np.exp(-nll) - np.exp(-base_nll)
    print(json.dumps({
        "tokens": len(kl),
        "kl": {"mean": kl.mean(), "standardError": kl.std(ddof=1) / len(kl) ** 0.5, "p99": np.quantile(kl, 0.99), "max": kl.max()},
        "sameTop1": same.mean(),
        "perplexity": np.exp(nll.mean()),
        "basePerplexity": np.exp(base_nll.mean()),
        "deltaP": {"mean": moved.mean(), "rms": (moved**2).mean() ** 0.5},
    }))


if __name__ == "__main__":
    main()
