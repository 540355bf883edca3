"""What Hugging Face `tokenizers` makes of texts: the fixtures of src/tokenizer, and the other half of check-tokenizer.mjs.

    python scripts/reference/tokenizer.py fixtures                   writes test/fixtures/tokenizer/
    python scripts/reference/tokenizer.py strings COUNT SEED         prints random strings, one JSON value a line
    python scripts/reference/tokenizer.py encode TOKENIZER.JSON      reads such lines, prints [ids, decoded] or null (refused) a line

Needs `pip install tokenizers` (written with 0.23).
"""

import hashlib
import json
import random
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "test" / "fixtures" / "tokenizer"

CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {"gpt2": None, "cl100k": CL100K, "qwen2": CL100K.replace(r"\p{N}{1,3}", r"\p{N}"), "smollm": None}


def pre_tokenizer(pattern):
    if PATTERNS[pattern] is None:
        gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return gpt2 if pattern == "gpt2" else pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(texts, vocab_size, pattern="gpt2", special_tokens=("<|endoftext|>",), min_frequency=0):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(pattern)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=min_frequency,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def merges_of(tokenizer):
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def digest(lines):
    return hashlib.sha256("\n".join(map(str, lines)).encode()).hexdigest()


# Every kind of character that a pattern tells apart, and the borders between them.
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
NOT_SPACES = "\x00\x1c\x1f\u180e\u200b\u200d\u2060\ufeff\ufffd"
WORDS = """the I'll we've they're don't it's IT'S 'RE 'D '\u017f \u017f na\u00efve e\u0301 \u00df \u4e2d\u6587 \u0420\u0443\u0441
    \u0939\u093f\u0928\u094d\u0926\u0940 \ud55c\uad6d \u0639\u0631\u0628\u064a \U00010400 \u02b0""".split()
NUMBERS = ["0", "42", "1234567", "\u0663", "\u00bd", "\u216b", "\u4e03", "\u00b2", "\U0001d7d8"]
OTHERS = ["'", "''", "...", "--", "!?", "$", "\u2019", "\u20ac", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0301", "<|endoftext|>"]


def random_string(rng):
    if rng.random() < 0.25:
        ranges = [rng.choice([(0, 0xD800), (0xE000, 0x110000), (0, 0x800)]) for _ in range(rng.randrange(24))]
        return "".join(chr(rng.randrange(*bounds)) for bounds in ranges)
    parts = []
    for _ in range(rng.randrange(20)):
        choice = rng.random()
        if choice < 0.35:
            parts += [rng.choice(SPACES if rng.random() < 0.5 else " \n\r") for _ in range(rng.randrange(1, 4))]
        elif choice < 0.4:
            parts.append(rng.choice(NOT_SPACES))
        else:
            parts.append(rng.choice(rng.choice([WORDS, WORDS, NUMBERS, OTHERS])))
    return "".join(parts)


def strings(count, seed):
    rng = random.Random(seed)
    return [random_string(rng) for _ in range(count)]


def utf16_length(text):
    return len(text.encode("utf-16-le")) // 2


def pieces(pattern, text):
    """The lengths of the pieces of a text, in UTF-16 code units."""
    split = pre_tokenizer(pattern) if PATTERNS[pattern] is None else pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    return [utf16_length(text[begin:end]) for _, (begin, end) in split.pre_tokenize_str(text)]


def write(name, value):
    FIXTURES.mkdir(parents=True, exist_ok=True)
    (FIXTURES / name).write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def write_fixtures():
    shakespeare = (ROOT / "data" / "tinyshakespeare.txt").read_bytes().decode()
    sample = strings(500, 1)

    write("pieces.json", [[text, *(pieces(pattern, text) for pattern in PATTERNS)] for text in sample])

    trained = {}
    for pattern, vocab_size in [("gpt2", 4096), ("cl100k", 1024), ("qwen2", 1024), ("smollm", 1024)]:
        tokenizer = train([shakespeare], vocab_size, pattern)
        merges = merges_of(tokenizer)
        ids = tokenizer.encode(shakespeare).ids
        tokenizer.encode_special_tokens = True  # as text, which is what our encode() makes of them by default
        trained[pattern] = {
            "vocabSize": vocab_size,
            "merges": {"count": len(merges), "sha256": digest(merges), "everyHundredth": merges[::100]},
            "text": {"count": len(ids), "sha256": digest(ids)},
            "strings": [tokenizer.encode(text).ids for text in strings(500, 3)[:100]],
        }
    write("shakespeare.json", {"strings": strings(500, 3)[:100], "trained": trained})

    # Added tokens of every kind, allowed to be found.
    tokenizer = train(["an apple, an endless apple"], 270, special_tokens=["<|endoftext|>"])
    marks = [
        AddedToken("<|endoftext|>", special=True, normalized=False),
        AddedToken("<|end|>", special=True, normalized=False),
        AddedToken("<|end|>!", special=False, normalized=False),
        AddedToken("end", special=False, single_word=True),
        AddedToken("<left>", special=False, lstrip=True, normalized=True),
        AddedToken("<right>", special=True, rstrip=True, normalized=False),
        AddedToken("apple", special=False, normalized=True),
        AddedToken("\u4e2d$", special=False, normalized=False),
    ]
    tokenizer.add_tokens([mark for mark in marks if not mark.special])
    tokenizer.add_special_tokens([mark for mark in marks if mark.special])
    parts = [mark.content for mark in marks] + [" ", "  ", "\n", "\u3000", "x", "an", "<|", "|>", "!", "_", "\u00e9", "\u4e2d", "\U0001d7d8", "less"]
    rng = random.Random(4)
    texts = ["".join(rng.choice(parts) for _ in range(rng.randrange(12))) for _ in range(150)]
    rows = []
    for text in texts:
        tokenizer.encode_special_tokens = False
        allowed = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        rows.append([text, allowed, tokenizer.encode(text).ids])
    write("added.json", {"tokenizer": json.loads(tokenizer.to_str()), "texts": rows})

    # Few letters in long runs: many ties, and strings that more than one merge arrives at.
    rng = random.Random(2)
    cases = []
    for case in range(60):
        letters = ("ab" if case % 2 else "aaab") + (" " if case % 3 else "")
        documents = ["".join(rng.choice(letters) for _ in range(rng.randrange(1, 60))) for _ in range(rng.randrange(1, 5))]
        special = ["<|a|>", "<|b|>"][: case % 3]
        vocab_size = 256 + len(special) + rng.randrange(40)
        merges = merges_of(train(documents, vocab_size, special_tokens=special, min_frequency=case % 4))
        cases.append({"documents": documents, "specialTokens": special, "vocabSize": vocab_size, "minFrequency": case % 4, "merges": merges})
    write("ties.json", cases)


def encode_lines(path):
    tokenizer = Tokenizer.from_file(path)
    tokenizer.encode_special_tokens = True  # special tokens in a text are plain text, as for our encode()
    for line in sys.stdin:
        try:
            ids = tokenizer.encode(json.loads(line)).ids
        except Exception:
            print("null")
        else:
            print(json.dumps([ids, tokenizer.decode(ids, skip_special_tokens=False)]))


if __name__ == "__main__":
    verb, *rest = sys.argv[1:] or [""]
    if verb == "fixtures":
        write_fixtures()
    elif verb == "strings":
        for text in strings(int(rest[0]), int(rest[1])):
            print(json.dumps(text))
    elif verb == "encode":
        encode_lines(*rest)
    else:
        sys.exit(__doc__)
