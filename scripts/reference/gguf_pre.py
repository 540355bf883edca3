"""What llama.cpp makes of texts with every kind of pre-tokenizer (`tokenizer.ggml.pre`) that it compares, on one invented vocabulary: the fixtures of
src/tokenizer/gguf-pre.test.ts, and a check of any number of texts.

    python scripts/reference/gguf_pre.py fixtures LIB SOURCE       writes test/fixtures/gguf-pre/
    python scripts/reference/gguf_pre.py models LIB [DIR COUNT]    writes test/fixtures/gguf-pre/models/: the other kinds of models
    python scripts/reference/gguf_pre.py encode LIB FILE           reads texts as JSON, one a line; prints their ids, a list a line
    python scripts/reference/gguf_pre.py rows LIB PRE COUNT SEED   prints a text, its ids, and those with special tokens allowed, a list a line
    python scripts/reference/gguf_pre.py strings COUNT SEED        prints random texts, one JSON value a line
    python scripts/reference/gguf_pre.py names SOURCE              prints the names that SOURCE compares

LIB is llama.cpp's libllama.so, SOURCE its src/llama-vocab.cpp. Needs `pip install gguf tokenizers`. The vocabulary is learned without any cutting, so that its tokens reach
across words, numbers and punctuation, and a cut in the wrong place shows in the ids.
"""

import ctypes
import hashlib
import json
import random
import re
import sys
import tempfile
import unicodedata
from pathlib import Path

import gguf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "test" / "fixtures" / "gguf-pre"

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It's 12345678 o'clock, isn't it? They'll say \"we've\" won!",
    "I'M SURE THEY'LL SAY WE'VE WON; DON'T YOU'D THINK SO? HTTPServer parseJSON2XML camelCase snake_case",
    "def f(x):\n    return x + 1  # comment\n\n\tif (a >= b && c != 0) { i++; }\r\n    for (int i = 0; i < 10; ++i) printf(\"%d\\n\", i);",
    "Grüße aus Köln, naïve café! ÀÉÎ straße ÄÖÜ éÉ 1.234.567,89 € 50% @home #tag $5 ^^ ~~ `code` |x| <a href='b'>",
    "Привет, мир! Как дела? ПРИВЕТ Мир 2024 год. Ελληνικά ΚΑΛΗΜΕΡΑ καλημέρα",
    "中文和日本語のテキスト。한국어 문장도 있습니다。、！？「」…—“引用”‘话’ 第123章 〇 ひらがな カタカナ ﾊﾝｶｸ ＡＢＣ１２３",
    "عربي نص هنا، كيف؟ ١٢٣ हिन्दी में नमस्ते दुनिया ๑๒๓ ภาษาไทย বাংলা తెలుగు עברית e\u0301\u0300 x\u0323y",
    "emoji 😀😀 👨‍👩‍👧 🏳️‍🌈 🇫🇷 👍🏽 \u00a0nbsp\u2003em\u3000wide\t tab  two   three    four     five\n\n\nlines \n \r\n\r\n  x",
    "<sentinel:12> IMGIMGABCZ  \t\n  [INST] 1000000 22 333 4444 55555 666666 7777777 <dna>ACGT</dna> a1b22c333d4444",
]

# What begins and ends texts, and tokens that are found in any text.
SPECIAL = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), ("<mask>", CONTROL), ("<|user|>", USER_DEFINED), ("@@", USER_DEFINED), ("@@@@", USER_DEFINED)]


def vocabulary():
    """Tokens, their types, merges: a byte-level half, a half on letters with `▁` for spaces, and the bytes as `<0x0A>`."""
    tokens, types, merges = [name for name, _ in SPECIAL], [kind for _, kind in SPECIAL], []
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for pre, texts, size, initial in [
        (byte_level, TEXTS * 3, 900, sorted(alphabet)),
        (None, [text.replace(" ", "▁") for text in TEXTS * 3], 420, []),
    ]:
        tokenizer = Tokenizer(models.BPE())
        if pre is not None:
            tokenizer.pre_tokenizer = pre
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=initial, special_tokens=[], show_progress=False, max_token_length=8, limit_alphabet=256)
        tokenizer.train_from_iterator(texts, trainer)
        model = json.loads(tokenizer.to_str())["model"]
        vocab = sorted(model["vocab"], key=model["vocab"].get)
        known = set(tokens)
        tokens += [token for token in vocab if token not in known]
        types += [NORMAL for token in vocab if token not in known]
        merges += [" ".join(pair) for pair in model["merges"] if all(" " not in part for part in pair) and " ".join(pair) not in merges]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    types += [BYTE] * 256
    for token in ("\n", "\n\n", "\n\n\n"):
        if token not in tokens:
            tokens.append(token)
            types.append(NORMAL)
    return tokens, types, merges


def committed_vocabulary():
    """That of the fixtures. (Pairs that are equally frequent are learned in another order in every run.)"""
    reader = gguf.GGUFReader(FIXTURES / "vocab.gguf")
    def texts(key):
        field = reader.fields[f"tokenizer.ggml.{key}"]
        return [bytes(field.parts[i]).decode() for i in field.data]

    types = reader.fields["tokenizer.ggml.token_type"]
    return texts("tokens"), [int(types.parts[i][0]) for i in types.data], texts("merges")


def write_gguf(path, model, pre, tokens, types, merges=None, scores=None, extra=()):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_vocab_size(len(tokens))
    for add, value in [(writer.add_context_length, 64), (writer.add_embedding_length, 8), (writer.add_block_count, 1), (writer.add_feed_forward_length, 8),
                       (writer.add_head_count, 1), (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_tokenizer_model, model)]:
        add(value)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    for key, value in extra:
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, bytes):
            writer.add_key_value(key, value, gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT8)
        else:
            writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


IDS = [("tokenizer.ggml.bos_token_id", 1), ("tokenizer.ggml.eos_token_id", 2), ("tokenizer.ggml.unknown_token_id", 0)]


class LlamaCpp:
    """llama.cpp's tokenizer of a GGUF, by its C interface (include/llama.h)."""

    def __init__(self, library):
        self.lib = lib = ctypes.CDLL(str(library))
        lib.llama_log_set.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        lib.llama_log_set(ctypes.cast(self.log, ctypes.c_void_p), None)
        lib.llama_backend_init()

        pointer, flag = ctypes.c_void_p, ctypes.c_bool

        class Params(ctypes.Structure):
            _fields_ = [("devices", pointer), ("overrides", pointer), ("layers", ctypes.c_int32 * 5), ("split", pointer), ("progress", pointer), ("data", pointer),
                        ("kv_overrides", pointer), ("vocab_only", flag), ("flags", flag * 5)]

        lib.llama_model_default_params.restype = Params
        lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
        lib.llama_model_load_from_file.restype = ctypes.c_void_p
        lib.llama_model_get_vocab.argtypes = lib.llama_model_free.argtypes = [ctypes.c_void_p]
        lib.llama_model_get_vocab.restype = ctypes.c_void_p
        lib.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]
        lib.llama_token_to_piece.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_bool]

    def open(self, path):
        params = self.lib.llama_model_default_params()
        params.vocab_only = True
        self.model = self.lib.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise ValueError(f"llama.cpp cannot open {path}")
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        return self

    def encode(self, text, add_special=False, parse_special=False):
        data = text.encode()
        room = len(data) + 16
        ids = (ctypes.c_int32 * room)()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), ids, room, add_special, parse_special)
        assert count >= 0
        return list(ids[:count])

    def decode(self, ids):
        """The pieces of ids one after another, as llama.cpp prints them."""
        pieces = b""
        for each in ids:
            buffer = ctypes.create_string_buffer(1024)
            count = self.lib.llama_token_to_piece(self.vocab, each, buffer, 1024, 0, True)
            pieces += buffer.raw[:count]
        return pieces.decode(errors="replace")

    def close(self):
        self.lib.llama_model_free(self.model)


# Spaces, marks, joiners and controls of all kinds, numbers, contractions, scripts, code.
NASTY = ["'s", "'S", "'re", "'RE", "'ll", "'Ll", "'ve", "'d", "'\u017f", "I'm", "don't", "O'Neil", "  ", "   ", "    ", "\n", "\n\n", "\r\n", " \n ", "\t", "\t\t", "\u00a0", "\u2003", "\u3000", "\u2028", "\x85", "\x0b", "\x1c",
         "\u200b", "\u200d", "\ufeff", "\x00", "\x01", "\x7f", "\u00ad", "\ufe0f", "\u0301", "\u0323", "e\u0301\u0323", "\u0903", "1", "12", "123", "1234", "12345", "1234567", "1.234,56", "٣٤٥٦", "½", "Ⅷ", "²³", "１２３４", "१२३४",
         "!", "?!", "...", "…", "。", "、", "，", "！", "「", "」", "()", "(", ")", "[", "]", "{}", "<=", ">=", "+", "$", "^", "~", "|", "`", "\\", "/", "//", "#", "@", "&&", "__", "--", "—", "“", "‘", "€", "©", "→", "∑", "中文", "第", "一", "龥", "ࠀ", "日本語",
         "ひらがな", "カタカナ", "ー", "ﾊﾝ", "한국어", "ㄱㅏ", "ㄅㄆ", "हिन्दी", "ไทย", "עברית", "عربي", "؟", "،", "Привет", "МИР", "ΣΑΣ", "ß", "ÄÖ", "äÖ", "éÉé", "ǅ", "İ", "ı", "ſ", "K", "\u0295", "😀", "👨‍👩‍👧", "👍🏽", "🏳️‍🌈", "🇫🇷", "<s>", "<mask>",
         "<|user|>", "@@", "@@@", "@@@@", "@@@@@", "<sentinel:12>", "IMGIMGABZ", "IMGIMGABCDEZ", "HTTPServer", "camelCase", "XMLHttp2", "the", "The", "THE", "▁", "▁the", "<0x41>", "\U000105c0", "\u1c89", "\ua7cb", "\U0001ccf0", "\U0002ebf0", "\u31ef",
         "〇", "々", "⺀", "\u9fff", "\U00020000", "\ufa0e", "a b", " a", "_a", ".a", "!a", "1a", "a1"]
WORDS = [word for text in TEXTS for word in text.split(" ")]
SPACES = ["", "", " ", " ", " ", "  ", "\n", "\t"]


def random_string(rng):
    parts = []
    for _ in range(rng.randrange(1, 14)):
        choice = rng.random()
        if choice < 0.4:
            parts.append(rng.choice(NASTY))
        elif choice < 0.7:
            parts.append(rng.choice(WORDS))
        elif choice < 0.78:
            parts.append(str(rng.randrange(10 ** rng.randrange(1, 12))))
        elif choice < 0.84:
            parts.append(rng.choice([" ", "\n", "\t", "\u00a0", "\u3000", "\r"]) * rng.randrange(1, rng.choice([4, 9, 40])))
        elif choice < 0.92:
            parts.append("".join(chr(rng.randrange(0x20, 0x7F)) for _ in range(rng.randrange(1, 6))))
        else:
            parts.append(chr(rng.choice([rng.randrange(0x80, 0x250), rng.randrange(0x300, 0xD800), rng.randrange(0xE000, 0x10000), rng.randrange(0x10000, 0x20000), rng.randrange(0x20000, 0x110000)])))
        parts.append(rng.choice(SPACES))
    return "".join(parts)


def strings(count, seed):
    rng = random.Random(seed)
    return [random_string(rng) for _ in range(count)]


def names(source):
    """The names that llama.cpp compares, in its order."""
    found = re.findall(r'tokenizer_pre == "([^"]+)"', Path(source).read_text(encoding="utf-8"))
    return list(dict.fromkeys(found))


def digest(rows):
    """A hash of ids: a line a text, a space between ids."""
    return hashlib.sha256("".join(" ".join(map(str, row)) + "\n" for row in rows).encode()).hexdigest()


def other_models():
    """A small vocabulary of each other kind of model: name, model, pre, tokens, types, scores, merges, further keys."""
    import sentencepiece  # noqa: PLC0415

    words = sorted({word for text in TEXTS for word in text.lower().split()})
    pieces = dict.fromkeys(piece for word in words for piece in (word, word[:3], word[:1]) if piece)
    characters = dict.fromkeys(character for text in TEXTS for character in text.lower() if not character.isspace())
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + ["▁" + piece for piece in pieces] + [c for c in characters if c not in "█"] + [f"{a}{b}" for a in "aeioust" for b in "aeiournst"]
    bert = list(dict.fromkeys(bert))
    bert_types = [CONTROL if token.startswith("[") and token.endswith("]") and len(token) > 3 else NORMAL for token in bert]
    bert_ids = [("tokenizer.ggml.bos_token_id", 2), ("tokenizer.ggml.unknown_token_id", 1), ("tokenizer.ggml.seperator_token_id", 3), ("tokenizer.ggml.padding_token_id", 0)]
    yield "bert", "bert", "jina-v2-en", bert, bert_types, None, None, bert_ids
    yield "bert-cased", "bert", "jina-v2-en", bert, bert_types, None, None, [*bert_ids, ("tokenizer.ggml.normalizer.lowercase", False)]

    for name, extra in [("t5", [("tokenizer.ggml.add_space_prefix", True), ("tokenizer.ggml.remove_extra_whitespaces", True)]), ("t5-spaces", [("tokenizer.ggml.add_space_prefix", True)]), ("t5-plain", [])]:
        with tempfile.TemporaryDirectory() as folder:
            # Some of the rules of NFKC: a map of all of them takes 200 kB.
            points = [0xA0, *range(0xC0, 0x180), 0x2003, 0x2028, 0x3000, *range(0xFF10, 0xFF5B), 0xBD, 0x2167, *range(0xFF76, 0xFF9E), 0x1F1]
            rules = [([point], [ord(c) for c in unicodedata.normalize("NFKC", chr(point))]) for point in points if unicodedata.normalize("NFKC", chr(point)) != chr(point)] + [([0x65, 0x301], [0xE9]), ([0x200B], []), ([0x9], [0x20]), ([0xA], [0x20])]
            hexes = lambda codes: " ".join(f"{code:X}" for code in codes)
            Path(f"{folder}/rules.tsv").write_text("".join(f"{hexes(source)}\t{hexes(target)}\n" for source, target in sorted(rules)))
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXTS * 8), model_prefix=f"{folder}/m", model_type="unigram", vocab_size=400, hard_vocab_limit=False, num_threads=1, minloglevel=2,
                                                     pad_id=0, eos_id=1, unk_id=2, bos_id=-1, user_defined_symbols=["<extra_id_0>", "fox"], max_sentence_length=10000, normalization_rule_tsv=f"{folder}/rules.tsv")
            processor = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/m.model")
            proto = Path(f"{folder}/m.model").read_bytes()
        count = processor.vocab_size()
        types = [UNKNOWN if processor.is_unknown(i) else CONTROL if processor.is_control(i) else USER_DEFINED if processor.id_to_piece(i) in ("<extra_id_0>", "fox") else NORMAL for i in range(count)]
        charsmap = charsmap_of(proto) if name != "t5-plain" else None
        yield name, "t5", "default", [processor.id_to_piece(i) for i in range(count)], types, [processor.get_score(i) for i in range(count)], None, [
            ("tokenizer.ggml.eos_token_id", 1), ("tokenizer.ggml.unknown_token_id", 2), *extra, *([("tokenizer.ggml.precompiled_charsmap", charsmap)] if charsmap else [])]

    escaped = lambda token: repr(token)[1:-1] if isinstance(token, str) else repr(token)[2:-1]
    rwkv = ["<s>"] + [escaped(bytes([byte])) if byte > 126 or byte < 32 or byte in (39, 92) else chr(byte) for byte in range(256)]
    rwkv += [token for token in dict.fromkeys(text[i:i + n].replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") for text in TEXTS for n in (2, 3, 5) for i in range(0, len(text), 7)) if "\\\\" not in token and token not in rwkv]
    rwkv = list(dict.fromkeys(rwkv))
    yield "rwkv", "rwkv", None, rwkv, [CONTROL] + [NORMAL] * (len(rwkv) - 1), None, None, [("tokenizer.ggml.bos_token_id", 0), ("tokenizer.ggml.eos_token_id", 0), ("tokenizer.ggml.unknown_token_id", 0)]

    rng = random.Random(3)
    spelled = dict.fromkeys(text[i:i + n] for text in TEXTS for n in (1, 2, 3, 4, 6) for i in range(0, len(text) - n, 3))
    tokens = ["<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>", "<|plamo:pad|>"] + [f"<0x{byte:02X}>" for byte in range(256)] + [token for token in spelled if "\x00" not in token]
    scores = [0.0] * 260 + [-rng.random() * 12 - (0 if len(token) > 1 else 3) for token in tokens[260:]]
    yield "plamo2", "plamo2", "default", tokens, [CONTROL] * 4 + [BYTE] * 256 + [NORMAL] * (len(tokens) - 260), scores, None, []

    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["<|user|>", "<|end|>", "<|endoftext|>", "@@", "@@@@"]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [CONTROL, NORMAL, CONTROL, USER_DEFINED, USER_DEFINED]
    spelled = [token for token in dict.fromkeys(text.replace(" ", "▁")[i:i + n] for text in TEXTS for n in (1, 2, 3, 4) for i in range(0, len(text) - n, 2)) if token not in tokens]
    llama_scores = [0.0] * len(tokens) + [-float(rng.randrange(3000)) for _ in spelled]
    llama_types = types + [NORMAL] * len(spelled)
    yield "llama", "llama", "default", tokens + spelled, llama_types, llama_scores, None, []
    yield "llama-no-prefix", "llama", "default", tokens + spelled, llama_types, llama_scores, None, [("tokenizer.ggml.add_space_prefix", False), ("tokenizer.ggml.add_eos_token", True), ("tokenizer.ggml.unknown_token_id", 99999)]
    yield "llama-phi-3", "llama", "default", tokens + spelled, llama_types, llama_scores, None, [("general.name", "Phi-3 mini")]

    tokens, types, merges = committed_vocabulary()
    yield "gemma4", "gemma4", None, tokens, types, None, merges, [*IDS, ("tokenizer.ggml.add_bos_token", False)]
    yield "jina-mask", "gpt2", "jina-v2-code", tokens, types, None, merges, IDS
    yield "whitespace-lower", "whitespace", "gpt-2", tokens, types, None, merges, IDS


def charsmap_of(model):
    """The precompiled rules of a SentencePiece model: field 2 of its field 3."""
    def fields(data):
        at = 0
        while at < len(data):
            key, at = varint(data, at)
            if key & 7 == 2:
                length, at = varint(data, at)
                yield key >> 3, data[at:at + length]
                at += length
            elif key & 7 == 0:
                _, at = varint(data, at)
            else:
                at += 8 if key & 7 == 1 else 4

    def varint(data, at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                return value, at

    rules = [value for number, value in fields(model) if number == 3][-1]
    return next(value for number, value in fields(rules) if number == 2)


def write_models(library, folder=FIXTURES / "models", count=500):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = strings(int(count), 29)
    llama = LlamaCpp(library)
    expected = {}
    for name, model, pre, tokens, types, scores, merges, extra in other_models():
        write_gguf(folder / f"{name}.gguf", model, pre, tokens, types, merges, scores, extra)
        llama.open(folder / f"{name}.gguf")
        # Where llama.cpp makes a special token of plain text there is no case to compare: ours never does.
        rows = [llama.encode(text, True, special) for text in texts for special in (False, True) if special or "<s>" not in text]
        expected[name] = {"ids": digest(rows), "sample": rows[:6], "pieces": [llama.decode(row) for row in rows[:40:2]]}
        if len(texts) != 500:
            (folder / f"{name}.rows.json").write_text(json.dumps(rows))
        llama.close()
    (folder / "strings.json").write_text(json.dumps(texts, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")).replace('},"', '},\n"') + "\n", encoding="utf-8")


def write_fixtures(library, source):
    FIXTURES.mkdir(parents=True, exist_ok=True)
    tokens, types, merges = vocabulary()
    texts = strings(2000, 13)
    write_gguf(FIXTURES / "vocab.gguf", "gpt2", "default", tokens, types, merges, extra=IDS)
    expected = {"kinds": {}}
    llama = LlamaCpp(library)
    with tempfile.TemporaryDirectory() as folder:
        for name in names(source):
            path = Path(folder) / "x.gguf"
            # Elsewhere llama.cpp stops at a text with a space that is no byte-level one.
            write_gguf(path, "whitespace" if name == "whitespace" else "gpt2", name, tokens, types, merges, extra=IDS)
            llama.open(path)
            rows = [llama.encode(text) for text in texts]
            special = [llama.encode(text, parse_special=True) for text in texts]
            expected["kinds"][name] = {"plain": digest(rows), "special": digest(special), "surrounded": llama.encode("x", add_special=True), "sample": rows[:4]}
            llama.close()
    (FIXTURES / "strings.json").write_text(json.dumps(texts, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    (FIXTURES / "expected.json").write_text(json.dumps(expected, separators=(",", ":")).replace('"},"', '"},\n"') + "\n")


if __name__ == "__main__":
    verb, *rest = sys.argv[1:] or [""]
    if verb == "fixtures":
        write_fixtures(*rest)
    elif verb == "models":
        write_models(*rest)
    elif verb == "strings":
        for text in strings(int(rest[0]), int(rest[1])):
            print(json.dumps(text))
    elif verb == "rows":
        library, name, count, seed = rest
        tokens, types, merges = committed_vocabulary()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.gguf"
            write_gguf(path, "whitespace" if name == "whitespace" else "gpt2", name, tokens, types, merges, extra=IDS)
            llama = LlamaCpp(library).open(path)
            for text in strings(int(count), int(seed)):
                print(json.dumps([text, llama.encode(text), llama.encode(text, parse_special=True)]))
    elif verb == "names":
        print("\n".join(names(rest[0])))
    elif verb == "encode":
        llama = LlamaCpp(rest[0]).open(rest[1])
        for line in sys.stdin:
            print(json.dumps(llama.encode(json.loads(line))))
    else:
        sys.exit(__doc__)
