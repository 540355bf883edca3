"""
The Python peers of the tokenizer benchmark, all in Rust: Hugging Face `tokenizers`, tiktoken, gigatoken and rustbpe.

    python bench/peers/tokenizer.py --side SIDE --documents FILE.json --tokenizer tokenizer.json --threads N [--vocab 8192]

FILE.json is a list of texts. Prints {"ready": true}, then answers each line on standard input with one line of JSON: `encode` encodes the texts with
a fresh tokenizer (its cache cold), `train` learns a vocabulary from them. {"seconds", "tokens"}. Each side is called as is fastest with it: a batch
on all threads, except for gigatoken, which has both and is measured in both.
"""

import argparse
import json
import os
import sys
import time

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--side", choices=["tokenizers", "tiktoken", "gigatoken", "gigatoken-batch", "rustbpe"], required=True)
p.add_argument("--documents", required=True)
p.add_argument("--tokenizer", required=True)
p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
p.add_argument("--vocab", type=int, default=8192)
a = p.parse_args()
os.environ["RAYON_NUM_THREADS"] = str(a.threads)
os.environ["TOKENIZERS_PARALLELISM"] = "true"
texts = json.load(open(a.documents, encoding="utf-8"))
documents = [text.encode() for text in texts]
specification = open(a.tokenizer, encoding="utf-8").read()

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

        tokenizer = Tokenizer.from_str(specification)
        return lambda: sum(len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    if a.side == "gigatoken":
        from gigatoken import Tokenizer

        tokenizer = Tokenizer.from_json(specification)
        return lambda: sum(len(tokenizer.encode(document)) for document in documents)
    if a.side == "gigatoken-batch":
        import awkward
        from gigatoken import Tokenizer

        tokenizer = Tokenizer.from_json(specification)
        return lambda: int(awkward.num(tokenizer.encode_batch(documents, parallel=True), axis=1).to_numpy().sum())
    import tiktoken

    spec = json.loads(specification)
    special = {t["content"] for t in spec["added_tokens"]}
    alphabet = byte_alphabet()
    tokens = sorted((i, bytes(alphabet[c] for c in t)) for t, i in spec["model"]["vocab"].items() if t not in special)
    # tiktoken wants ranks in the order of the merges, which is the order of the ids.
    encoding = tiktoken.Encoding("bench", pat_str=PATTERN, mergeable_ranks={t: r for r, (_, t) in enumerate(tokens)}, special_tokens={})
    return lambda: sum(map(len, encoding.encode_ordinary_batch(texts, num_threads=a.threads)))


def train():
    if a.side == "rustbpe":
        import rustbpe

        tokenizer = rustbpe.Tokenizer()
        return lambda: tokenizer.train_from_iterator(iter(texts), vocab_size=a.vocab, pattern=PATTERN) or tokenizer.vocab_size
    if a.side == "gigatoken":
        from gigatoken import train_bpe

        return lambda: len(train_bpe(b"\n".join(documents), a.vocab, [])[0])
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=a.vocab, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    return lambda: tokenizer.train_from_iterator(texts, trainer) or tokenizer.get_vocab_size()


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    job = train() if line.strip() == "train" else encoder()
    start = time.perf_counter()
    tokens = job()
    print(json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens}), flush=True)
