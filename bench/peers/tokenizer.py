"""
The Python peers of the tokenizer benchmark: Hugging Face `tokenizers` and tiktoken, both in Rust.

    python bench/peers/tokenizer.py --side tokenizers|tiktoken --text FILE --tokenizer tokenizer.json [--vocab 8192]

Prints {"ready": true}, then answers each line on standard input with one line of JSON: `encode` encodes the text with a fresh tokenizer (its cache
cold), `train` learns a vocabulary from it (tokenizers alone). {"seconds", "tokens"}.
"""

import argparse
import json
import sys
import time

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--side", choices=["tokenizers", "tiktoken"], required=True)
p.add_argument("--text", required=True)
p.add_argument("--tokenizer", required=True)
p.add_argument("--vocab", type=int, default=8192)
a = p.parse_args()
text = open(a.text, encoding="utf-8").read()
spec = json.load(open(a.tokenizer, encoding="utf-8"))

# GPT-2's pre-tokenisation, as its authors published it.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def byte_alphabet():
    """The printable character that stands for each byte in a byte-level vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {chr(b): b for b in printable}, 0
    for b in range(256):
        if b not in printable:
            table[chr(256 + extra)] = b
            extra += 1
    return table


def encoder():
    if a.side == "tokenizers":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(json.dumps(spec))
        return lambda: len(tokenizer.encode(text).ids)
    import tiktoken

    special = {t["content"] for t in spec["added_tokens"]}
    alphabet = byte_alphabet()
    tokens = sorted((i, bytes(alphabet[c] for c in t)) for t, i in spec["model"]["vocab"].items() if t not in special)
    # tiktoken wants ranks in the order of the merges, which is the order of the ids.
    encoding = tiktoken.Encoding("bench", pat_str=PATTERN, mergeable_ranks={t: r for r, (_, t) in enumerate(tokens)}, special_tokens={})
    return lambda: len(encoding.encode_ordinary(text))


def train():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=a.vocab, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer.get_vocab_size()


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    job = train if line.strip() == "train" else encoder()
    start = time.perf_counter()
    tokens = job()
    print(json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens}), flush=True)
