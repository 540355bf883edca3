"""Small tokenizers of every kind, as the model families write theirs, and what Hugging Face `tokenizers` and SentencePiece make of texts with them:
the fixtures of src/tokenizer/kinds.test.ts, and the other half of check-tokenizers.mjs.

    python scripts/reference/tokenizer_kinds.py fixtures            writes test/fixtures/tokenizers/
    python scripts/reference/tokenizer_kinds.py fixtures DIR COUNT  the same with all of SentencePiece's rules and so many texts, for the long check
    python scripts/reference/tokenizer_kinds.py strings COUNT SEED  prints random strings, one JSON value a line
    python scripts/reference/tokenizer_kinds.py encode FILE         reads such lines, prints [ids, decoded] or null (refused) a line; FILE is a
                                                               tokenizer.json, a SentencePiece .model, or a GGUF (by llama.cpp)

Needs `pip install tokenizers sentencepiece` (written with 0.23 and 0.2), and llama-cpp-python for a GGUF. The shapes are those of the families'
published tokenizer.json; the vocabularies are small ones learned from Tiny Shakespeare and some lines in other scripts.
"""

import importlib.util
import json
import random
import sys
import tempfile
import unicodedata
from pathlib import Path

# This file has the name of the package that it needs.
sys.path = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURES = ROOT / "test" / "fixtures" / "tokenizers"
FULL = False

spec = importlib.util.spec_from_file_location("reference_tokenizer", HERE / "tokenizer.py")
base = importlib.util.module_from_spec(spec)
spec.loader.exec_module(base)

CL100K = base.CL100K
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}" + TAIL
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}|\p{{N}}{{1,3}}" + TAIL
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
DEEPSEEK3 = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]

TEXTS = [(ROOT / "data" / "tinyshakespeare.txt").read_bytes().decode()[:150_000].split("\n")][0] + [
    "  Grüße aus Köln, naïve café! 1234567 12 3.14 10,000",
    "中文和日本語のテキスト。한국어 문장도 있습니다.",
    "Привет, мир! Как дела? हिन्दी में नमस्ते عربي نص",
    "emoji 😀😀 👨‍👩‍👧 e\u0301 \u00a0nbsp\ttab  two   three    four\n\n",
    "def f(x):\n    return x + 1  # don't 'quote' I'LL WE'VE",
] * 8

byte_level = pre_tokenizers.ByteLevel
split = lambda pattern, behavior="isolated", invert=False: pre_tokenizers.Split(Regex(pattern), behavior, invert)


def bos_template(bos="<s>", bos_id=None, eos=None, eos_id=None):
    single = ([f"{bos}:0"] if bos else []) + ["$A:0"] + ([f"{eos}:0"] if eos else [])
    pair = single + ([f"{bos}:1"] if bos else []) + ["$B:1"] + ([f"{eos}:1"] if eos else [])
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=[pair for pair in [(bos, bos_id), (eos, eos_id)] if pair[0]])


def byte_bpe(pre, special=("<|endoftext|>",), normalizer=None, post=None, ignore_merges=False, vocab_size=700, added=()):
    """A byte-level BPE: GPT-2 and all that came of it."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(special), initial_alphabet=byte_level.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.model.ignore_merges = ignore_merges
    tokenizer.add_tokens(list(added))
    if post is not None:
        tokenizer.post_processor = post(tokenizer) if callable(post) else post
    return tokenizer


def bos_of(name, eos=None):
    return lambda tokenizer: bos_template(name, tokenizer.token_to_id(name), eos, eos and tokenizer.token_to_id(eos))


def sentencepiece_bpe(normalizer=None, pre=None, decoder=None, post=None, special=("<unk>", "<s>", "</s>"), added=(), split_words=True, byte_fallback=True, fuse_unk=True, unk="<unk>"):
    """BPE as SentencePiece has it, in the shape that Llama, Mistral, Gemma and Phi-3 give it."""
    tokenizer = Tokenizer(models.BPE(unk_token=unk, fuse_unk=fuse_unk, byte_fallback=byte_fallback))
    # Learned on words, used on whole texts.
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = split("▁", "merged_with_next")
    initial = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=[*special, *initial], initial_alphabet=["▁"], limit_alphabet=90, show_progress=False)
    tokenizer.train_from_iterator([" " + text for text in TEXTS], trainer)
    value = json.loads(tokenizer.to_str())
    # The byte tokens are no added tokens, as they are not in the families' files.
    value["added_tokens"] = [token for token in value["added_tokens"] if token["content"] in special]
    value["normalizer"] = value["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(value))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    tokenizer.add_tokens(list(added))
    if post is not None:
        tokenizer.post_processor = post(tokenizer)
    return tokenizer


LLAMA_DECODER = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
GEMMA_DECODER = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])


def unigram(byte_fallback=False, normalizer=None, pre=None, post=None, special=("<pad>", "</s>", "<unk>"), unk="<unk>", decoder=None):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre or pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=list(special), unk_token=unk, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    if byte_fallback:
        value = json.loads(tokenizer.to_str())
        value["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
        value["model"]["byte_fallback"] = True
        tokenizer = Tokenizer.from_str(json.dumps(value))
    tokenizer.decoder = decoder or decoders.Metaspace()
    if post is not None:
        tokenizer.post_processor = post(tokenizer)
    return tokenizer


def rules():
    """All that SentencePiece calls nmt_nfkc, or some of it: a map of all of it takes 300 kB."""
    if FULL:
        return {"normalization_rule_name": "nmt_nfkc"}
    points = [*range(0xA0, 0x180), *range(0x1C4, 0x250), *range(0x300, 0x345), 0x212B, *range(0x2000, 0x2010), *range(0x2460, 0x2474), *range(0x3300, 0x3310), *range(0xFB00, 0xFB07), *range(0xFF01, 0xFF9F), 0x3000, 0x33FF, 0xFDFA]
    folded = {chr(point): unicodedata.normalize("NFKC", chr(point)) for point in points}
    folded |= {unicodedata.normalize("NFD", chr(point)): chr(point) for point in range(0xC0, 0x180) if len(unicodedata.normalize("NFD", chr(point))) == 2}
    folded |= {character: " " for character in "\t\n\r\u200b\u200e\u2028\ufeff"} | {"\x01": "", "\x7f": ""}
    lines = ["\t".join(" ".join(f"{ord(c):X}" for c in part) for part in pair) for pair in sorted(folded.items()) if pair[0] != pair[1]]
    path = Path(tempfile.mkdtemp()) / "rules.tsv"
    path.write_text("\n".join(lines) + "\n")
    return {"normalization_rule_tsv": str(path)}


def charsmap():
    """Such rules as SentencePiece compiles them."""
    model = train_sentencepiece("unigram", vocab_size=300, **rules())
    from sentencepiece import sentencepiece_model_pb2 as proto

    parsed = proto.ModelProto()
    parsed.ParseFromString(model)
    return parsed.normalizer_spec.precompiled_charsmap


def train_sentencepiece(model_type, **options):
    import io

    import sentencepiece

    writer = io.BytesIO()
    settings = {"vocab_size": 700, "character_coverage": 0.9995, "num_threads": 1, "minloglevel": 2, "hard_vocab_limit": False, **options}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter([text for text in TEXTS if text]), model_writer=writer, model_type=model_type, **settings)
    return writer.getvalue()


def kinds():
    """Every kind of tokenizer.json, by the family that has it."""
    gpt2 = byte_level(add_prefix_space=False)
    after = byte_level(add_prefix_space=False, use_regex=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    sequence = pre_tokenizers.Sequence
    mark = lambda content, **flags: AddedToken(content, **{"normalized": False, **flags})

    yield "gpt-2", byte_bpe(gpt2, post=processors.ByteLevel(trim_offsets=False))
    yield "llama-3", byte_bpe(sequence([split(CL100K), after]), ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], ignore_merges=True,
                              post=lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False), bos_of("<|begin_of_text|>")(t)]))
    yield "qwen-2", byte_bpe(sequence([split(QWEN2), after]), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC(), processors.ByteLevel(trim_offsets=False))
    yield "smollm", byte_bpe(sequence([digits, gpt2]), ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"])
    yield "smollm-3", byte_bpe(sequence([split(CL100K), after]), ["<|begin_of_text|>", "<|end_of_text|>", "<|im_end|>"], ignore_merges=True, added=[mark("<think>"), mark("</think>")])
    yield "olmo-2", byte_bpe(sequence([split(CL100K), after]), ["<|endoftext|>", "<|fim_prefix|>"], added=[AddedToken("|||PHONE_NUMBER|||", normalized=False)])
    yield "granite", byte_bpe(sequence([digits, gpt2]), ["<|end_of_text|>", "<fim_prefix>", "<|start_of_role|>"])
    yield "command-r", byte_bpe(sequence([digits, gpt2]), ["<PAD>", "<UNK>", "<BOS_TOKEN>", "<EOS_TOKEN>"], normalizers.NFC(), bos_of("<BOS_TOKEN>"))
    yield "gpt-neox", byte_bpe(gpt2, ["<|endoftext|>", "<|padding|>"], normalizers.NFC(), processors.ByteLevel(trim_offsets=True), added=[AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    yield "falcon", byte_bpe(sequence([pre_tokenizers.Punctuation("contiguous"), gpt2, digits, split("[0-9][0-9][0-9]")]), [">>TITLE<<", "<|endoftext|>"])
    yield "bloom", byte_bpe(sequence([split(BLOOM), after]), ["<unk>", "<s>", "</s>", "<pad>"])
    yield "tekken", byte_bpe(sequence([split(TEKKEN), after]), ["<unk>", "<s>", "</s>", "[INST]"], ignore_merges=True, post=bos_of("<s>"))
    yield "gpt-4o", byte_bpe(sequence([split(GPT4O), after]), ["<|endoftext|>"])
    yield "deepseek-3", byte_bpe(sequence([*(split(pattern) for pattern in DEEPSEEK3), after]), ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"],
                                 normalizers.Sequence([]), bos_of("<｜begin▁of▁sentence｜>"))
    yield "roberta", byte_bpe(byte_level(add_prefix_space=True), ["<s>", "<pad>", "</s>", "<unk>"], post=lambda t: processors.RobertaProcessing(("</s>", 2), ("<s>", 0)))
    legacy = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    first = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    yield "llama-2", sentencepiece_bpe(legacy, None, LLAMA_DECODER, bos_of("<s>"))
    yield "mistral-3", sentencepiece_bpe(None, first, LLAMA_DECODER, bos_of("<s>"), ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"))
    yield "phi-3", sentencepiece_bpe(legacy, None, LLAMA_DECODER, None, added=[AddedToken("<|assistant|>", special=True, normalized=False, rstrip=True), AddedToken("<|user|>", normalized=False, rstrip=True), mark("<|end|>", rstrip=True)])
    yield "gemma", sentencepiece_bpe(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), GEMMA_DECODER, bos_of("<bos>"), ("<pad>", "<eos>", "<bos>", "<unk>"),
                                     [mark("▁" * n) for n in range(2, 12)] + [mark("\n" * n) for n in range(1, 6)] + [mark("<table>"), mark("<start_of_turn>", special=True)])
    yield "bpe-unknown", sentencepiece_bpe(legacy, None, LLAMA_DECODER, byte_fallback=False, fuse_unk=False)
    yield "bpe-fused-unknown", sentencepiece_bpe(legacy, pre_tokenizers.Metaspace(prepend_scheme="always"), LLAMA_DECODER, byte_fallback=False)
    yield "t5", unigram(normalizer=normalizers.Precompiled(charsmap()), pre=sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), post=lambda t: bos_template(None, None, "</s>", 1))
    yield "xlm-r", unigram(normalizer=normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")]), special=("<s>", "<pad>", "</s>", "<unk>"),
                           post=lambda t: processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]))
    yield "unigram-bytes", unigram(True, normalizer=normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip()]),
                                   decoder=decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]))
    yield "every-step", every_step()


def every_step():
    """The steps that no family above has."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(), split("th", "merged_with_previous"), split("[xyz]", "removed"), split("[^e]+", "merged_with_next", True)])
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=["[UNK]"], continuing_subword_prefix="##", end_of_word_suffix="</w>", show_progress=False))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("##", ""), decoders.Replace(Regex("</w>$"), " "), decoders.Fuse(), decoders.Strip("t", 2, 0)])
    tokenizer.add_tokens([AddedToken("Thou", single_word=True), AddedToken("KING", lstrip=True, rstrip=True)])
    return tokenizer


def sentencepieces():
    """SentencePiece models by name."""
    yield "spm-bpe-bytes", train_sentencepiece("bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, vocab_size=900)
    yield "spm-bpe-nmt", train_sentencepiece("bpe", **rules(), user_defined_symbols=["<mask>", "▁▁", "thou"], control_symbols=["<ctl>"])
    yield "spm-bpe-no-prefix", train_sentencepiece("bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False, split_digits=True,
                                                   allow_whitespace_only_pieces=True, vocab_size=900, user_defined_symbols=["\n", "<start>"])
    yield "spm-unigram", train_sentencepiece("unigram", vocab_size=500, **rules())
    yield "spm-unigram-bytes", train_sentencepiece("unigram", byte_fallback=True, vocab_size=800, user_defined_symbols=["<sep>", "lord"], **rules())
    yield "spm-suffix", train_sentencepiece("unigram", vocab_size=400, treat_whitespace_as_suffix=True, **rules())


# Spaces, marks, joiners and controls of all kinds, and what looks like a token.
NASTY = ["▁", "▁▁", " ▁", "  ", "   ", "\n\n", "\r\n", "\t", "\u00a0", "\u2003", "\u3000", "\u200b", "\u200d", "\ufeff", "\u2028", "\x00", "\x01", "\x7f", "\x85", "\u00ad", "\ufe0f", "\u0301", "\u0323",
         "\u1100\u1161", "\uac01", "\ufb01", "\u2460", "½", "Ⅷ", "ﷺ", "㍿", "ｆｕｌｌ", "ﾊﾝ", "e\u0301\u0323", "Å", "\u212b", "ǅ", "İ", "ß", "Σς", "<s>", "</s>", "<unk>", "<0x41>", "<0xE4>", "<|endoftext|>", "[INST]",
         "<|user|> x", "<mask>", "<sep>", "<table>", "👨‍👩‍👧", "🏳️‍🌈", "🇫🇷", "👍🏽", "中文", "日本語", "한국어", "हिन्दी", "ไทย", "עברית", "عربي", "123", "1234567", "٣", "don't", "I'LL", "'s", "Thou", "KING", "  KING ", "lord", "thou", "the", "ſ", "K"]


def random_string(rng):
    if rng.random() < 0.4:
        return base.random_string(rng)
    parts = []
    for _ in range(rng.randrange(16)):
        choice = rng.random()
        if choice < 0.45:
            parts.append(rng.choice(NASTY))
        elif choice < 0.85:
            parts.append(rng.choice([" ", " ", ""]) + rng.choice(rng.choice(TEXTS).split(" ") or [""]))
        else:
            parts.append(chr(rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x300, 0xD800), rng.randrange(0xE000, 0x20000), rng.randrange(0x20000, 0x110000)])))
    return "".join(parts)


def strings(count, seed):
    rng = random.Random(seed)
    return [random_string(rng) for _ in range(count)]


def reader(path):
    """A function from text to its ids and their text."""
    path = str(path)
    if path.endswith(".model"):
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=path)
        return lambda text: ((ids := processor.encode(text)), processor.decode(ids))
    if path.endswith(".gguf"):
        from llama_cpp import Llama

        model = Llama(path, vocab_only=True, verbose=False)
        return lambda text: ((ids := model.tokenize(text.encode(), add_bos=False, special=False)), model.detokenize(ids).decode(errors="replace"))
    tokenizer = Tokenizer.from_file(path)
    tokenizer.encode_special_tokens = True  # special tokens in a text are plain text, as for our encode()

    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    is_unigram = json.loads(tokenizer.to_str())["model"]["type"] == "Unigram"

    def read(text):
        # There a unigram model finds special tokens in plain text all the same, which is what ours never does: no case to compare.
        if is_unigram and any(special in tokenizer.normalizer.normalize_str(text).replace("▁", " ") or special in text for special in specials):
            raise ValueError(text)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return ids, tokenizer.decode(ids, skip_special_tokens=False)

    return read


def row(read, text):
    try:
        return list(read(text))
    except Exception:
        return None


def write_fixtures(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    texts = strings(count, 5)
    expected = {"texts": texts, "rows": {}, "surrounded": {}}
    for name, tokenizer in kinds():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
        read = reader(path)
        expected["rows"][name] = [row(read, text) for text in texts]
        expected["surrounded"][name] = tokenizer.encode("the lord").ids
    for name, model in sentencepieces():
        path = folder / f"{name}.model"
        path.write_bytes(model)
        read = reader(path)
        expected["rows"][name] = [row(read, text) for text in texts]
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    verb, *rest = sys.argv[1:] or [""]
    if verb == "fixtures":
        FULL = len(rest) > 0
        write_fixtures(Path(rest[0]) if rest else FIXTURES, int(rest[1]) if rest else 300)
    elif verb == "strings":
        for text in strings(int(rest[0]), int(rest[1])):
            print(json.dumps(text))
    elif verb == "encode":
        read = reader(rest[0])
        for line in sys.stdin:
            print(json.dumps(row(read, json.loads(line))))
    else:
        sys.exit(__doc__)
